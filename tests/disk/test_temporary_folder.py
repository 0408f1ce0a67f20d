"""The folder for uploads on their way is full: refused as a full disk is, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.disk.conftest import Owner, refused
from tests.disk.volumes import Volume
from tests.running import ask, management_url, picture, until
from tests.standins import stood_in

MEGABYTE = 1024 * 1024


@contextmanager
def small_folder(role: str, place: Path) -> Iterator[Volume]:
    """The block runs with a role whose folder for uploads on their way has 12 MB."""
    with Volume(place, size=12 * MEGABYTE).attached() as volume, stood_in(role, UPLOAD_TEMP_DIR=str(place)):
        yield volume


@pytest.fixture(scope="module")
def folder_of_images(mountable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volume]:
    """That of images."""
    with small_folder("images", tmp_path_factory.mktemp("images")) as volume:
        yield volume


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_whatever_does_not_fit_while_an_image_is_made_refuses_it(
    kind: str, folder_of_images: Volume, owner: Owner
) -> None:
    body = picture(600, 500, kind=kind, noise=True)
    enough = 2 * len(body) + MEGABYTE // 2  # what arrives, what is made of it, avatar and card
    statuses = []
    for step in range(13):
        with folder_of_images.filled(leaving=enough * step // 12):
            answer = owner.upload(body)
        statuses.append(answer.status)
        assert answer.status == 201 or refused(answer, 507, "storage_full")
        assert owner.nothing_half_written()
        assert list(folder_of_images.place.iterdir()) == []

    assert statuses == sorted(statuses, reverse=True)
    assert set(statuses) == {201, 507}
    assert ask("GET", f"{management_url('images')}/readyz").status == 200


def test_the_gateway_refuses_what_it_cannot_take_in(
    mountable: None, owner: Owner, tmp_path_factory: pytest.TempPathFactory
) -> None:
    body = picture(1100, 1060, noise=True)  # 3.5 MB: Django keeps smaller ones in memory
    with small_folder("gateway", tmp_path_factory.mktemp("gateway")) as folder:
        for leaving in (0, 2 * MEGABYTE):
            with folder.filled(leaving=leaving):
                assert refused(owner.upload(body), 507, "storage_full")
                assert owner.upload(picture()).status == 201
                assert owner.nothing_half_written()

        assert owner.upload(body).status == 201
        until(lambda: not any(folder.place.iterdir()), "nothing is left in the folder")
    assert owner.reads_go_on()
