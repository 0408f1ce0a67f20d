"""`manage.py images` under the console's settings, with the images database beside that of auth."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command

from images import library, store
from images.upkeep import reaping
from tests.images.pictures import corners, saved

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "images"])


@pytest.fixture(autouse=True)
def image_root(settings: Any, tmp_path: Path) -> Path:
    """The folder of the store, empty at first."""
    root = tmp_path / "store"
    root.mkdir()
    entry = settings.STORAGES["images"]
    settings.STORAGES = {**settings.STORAGES, "images": entry | {"OPTIONS": entry["OPTIONS"] | {"location": str(root)}}}
    return root


def run(*words: str) -> str:
    output = io.StringIO()
    call_command("images", *words, stdout=output)
    return output.getvalue()


def test_the_console_keeps_the_store_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = library.store_image(uuid4(), io.BytesIO(saved(corners(), "PNG")))
    store.remove([image.card_path.removeprefix("/")])
    orphan = f"uploads/{uuid4()}.png"
    store.storage().save(orphan, ContentFile(b"left behind"))
    monkeypatch.setattr(reaping, "MINIMUM_AGE", reaping.dt.timedelta(0))

    assert "1 got new avatar and card" in run("derive")
    assert orphan in run("reap", "--older-than", "0s")
    assert "1 image verified: 0 with faults" in run("verify", "--repair-counters")
    assert "3 files copied" in run("export", str(tmp_path / "export"))
    assert "0 files copied" in run("import", str(tmp_path / "export"))
