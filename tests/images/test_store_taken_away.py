"""A volume that is unmounted under the running role: what is left in its place is not the store."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from images import health, store
from internal.problems import ProblemError

NAME = "uploads/0b1c2d3e-0000-4000-8000-00000000000{}.png"


@pytest.mark.parametrize("known", ["written to", "found at the start"])
def test_a_store_without_its_folders_takes_nothing_until_they_are_back(known: str, image_root: Path) -> None:
    if known == "written to":
        store.put({NAME.format(1): io.BytesIO(b"before")})
    else:
        (image_root / "uploads").mkdir()
        (image_root / "incoming").mkdir()
        health.storage()
    away = image_root.rename(image_root.with_name("away"))
    image_root.mkdir()

    with pytest.raises(ProblemError) as refused:
        store.put({NAME.format(2): io.BytesIO(b"meanwhile")})
    assert refused.value.problem.code == "storage_unavailable"
    assert list(image_root.iterdir()) == []
    with pytest.raises(health.StorageUnavailable, match="is it mounted"):
        health.storage()
    assert not health.storage_is_up()

    image_root.rmdir()
    away.rename(image_root)
    health.storage()
    store.put({NAME.format(3): io.BytesIO(b"afterwards")})
    assert (image_root / NAME.format(3)).read_bytes() == b"afterwards"
