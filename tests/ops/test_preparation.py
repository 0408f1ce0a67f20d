"""When collecting static files may be skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops import preparation


def test_static_files_are_collected_again_only_when_those_of_an_app_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "PROJECT", tmp_path)
    source = tmp_path / "portal" / "static" / "portal" / "site.css"
    collected = tmp_path / ".seawall" / "static" / "gateway" / "site.css"
    for path in (source, collected):
        path.parent.mkdir(parents=True)
        path.write_text("a { color: red }")
    before = preparation.static_fingerprint()
    collected.write_text("a { color: blue }")
    assert preparation.static_fingerprint() == before
    source.write_text("a { color: blue }")
    assert preparation.static_fingerprint() != before
