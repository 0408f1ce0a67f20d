"""The store is taken away under the running role, and given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.disk.conftest import Owner, image_root, refused, store_on_a_volume
from tests.running import ask, management_url, picture, until
from tests.standins import stood_in


def readiness() -> int:
    return ask("GET", f"{management_url('images')}/readyz").status


def test_a_store_that_was_moved_away_is_unavailable_until_it_is_back(owner: Owner) -> None:
    assert owner.upload(picture()).status == 201
    root = image_root()
    away = root.rename(root.with_name("images-away"))
    try:
        assert refused(owner.upload(picture()), 503, "storage_unavailable")
        until(lambda: readiness() == 503, "images says that it is not ready")
        assert owner.listed() == [image["id"] for image in owner.images]
    finally:
        away.rename(root)

    assert owner.upload(picture()).status == 201
    assert owner.reads_go_on()
    until(lambda: readiness() == 200, "images is ready")


@contextmanager
def mount_point() -> Iterator[None]:
    """The block runs with an empty folder in place of the store."""
    root = image_root()
    kept = root.rename(root.with_name("images-kept"))
    root.mkdir(0o755)
    try:
        yield
    finally:
        root.rmdir()
        kept.rename(root)


def test_nothing_is_stored_where_the_store_is_mounted_while_it_is_not(mountable: None, tmp_path: Path) -> None:
    with mount_point(), store_on_a_volume() as volume, stood_in("images") as role:
        until(lambda: len(role.workers()) == 2, "both workers serve")
        workers = role.workers()
        owner = Owner()
        assert owner.upload(picture()).status == 201
        with volume.moved(tmp_path):
            for _ in range(6):  # by every worker
                assert refused(owner.upload(picture()), 503, "storage_unavailable")
            assert list(image_root().iterdir()) == []
            until(lambda: readiness() == 503, "images says that it is not ready")

        assert owner.upload(picture()).status == 201
        assert owner.nothing_half_written()
        assert owner.reads_go_on()
        until(lambda: readiness() == 200, "images is ready")
        assert role.workers() == workers
