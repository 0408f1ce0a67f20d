"""A volume that is unmounted under the running role: what is left in its place is not the store."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
from django.core.files import File

from images import health, store
from images.store import DurableFileSystemStorage
from images.store.base import StorageUnavailable
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


def test_every_process_of_a_role_knows_the_folders_of_a_store_that_was_new_when_it_started(image_root: Path) -> None:
    started = DurableFileSystemStorage(image_root)  # as in gunicorn's master
    started.furnish()
    worker, management = copy.copy(started), copy.copy(started)  # as a fork has it
    image_root.rename(image_root.with_name("away"))
    image_root.mkdir()

    with pytest.raises(OSError, match="No such file"):
        worker.save(NAME.format(1), File(io.BytesIO(b"meanwhile")))
    with pytest.raises(StorageUnavailable, match="is it mounted"):
        management.require_usable()
    assert list(image_root.iterdir()) == []


def test_a_root_that_cannot_be_furnished_yet_stops_no_start(tmp_path: Path) -> None:
    DurableFileSystemStorage(tmp_path / "not there").furnish()

    assert not (tmp_path / "not there").exists()


def test_a_copy_of_a_store_without_its_empty_folder_takes_uploads(image_root: Path) -> None:
    (image_root / "uploads").mkdir()
    copied = DurableFileSystemStorage(image_root)
    copied.require_usable()

    copied.save(NAME.format(1), File(io.BytesIO(b"content")))

    assert (image_root / NAME.format(1)).read_bytes() == b"content"
