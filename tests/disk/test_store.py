"""The store is full or cannot be written: what is refused, what goes on, and that it comes back.

The file systems are real and small, and so is everything else: the roles run and are never restarted.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.disk.conftest import Owner, large, refused, store_on_a_volume
from tests.disk.volumes import Volume
from tests.running import Person, ask, management_url, picture, status, until


@pytest.fixture(autouse=True)
def _nothing_is_restarted() -> Iterator[None]:
    def lives() -> dict[str, tuple[int, int]]:
        return {name: (role["pid"], role["restarts"]) for name, role in status().items()}

    before = lives()
    yield
    assert lives() == before


def readiness() -> int:
    return ask("GET", f"{management_url('images')}/readyz").status


def test_a_full_disk_refuses_uploads_and_nothing_else(small_store: Volume, owner: Owner) -> None:
    refusal = owner.upload_until_refused(large())

    assert refused(refusal, 507, "storage_full")
    assert owner.images
    with small_store.filled():
        for image in (large(), picture(16, 16), picture(900, 700, kind="JPEG"), picture(64, 64, kind="GIF")):
            assert refused(owner.upload(image), 507, "storage_full")
        assert owner.nothing_half_written()
        assert owner.reads_go_on()
        assert readiness() == 200
        assert owner.person.call("GET", "/profile").json["limited"] == []
        newcomer = Person.new().register(picture()).sign_in()
        assert newcomer.call("GET", "/profile").json["image"] is None
    assert owner.nothing_half_written()


def test_deleting_makes_room_on_a_full_disk(small_store: Volume, owner: Owner) -> None:
    assert refused(owner.upload_until_refused(large()), 507, "storage_full")

    owner.delete(owner.images[0])

    assert owner.upload(large()).status == 201
    assert refused(owner.upload(large()), 507, "storage_full")
    assert owner.nothing_half_written()
    assert owner.reads_go_on()


def test_a_disk_that_cannot_hold_one_more_file_is_full_as_well(mountable: None, owner: Owner) -> None:
    with store_on_a_volume(files=3 + 2):  # an image, and a part of one
        assert refused(owner.upload_until_refused(picture()), 507, "storage_full")

        assert len(owner.images) == 1
        assert owner.nothing_half_written()
        owner.delete(owner.images[0])  # before it is read time and again: files keeps open for a minute what is hot
        assert owner.upload(picture()).status == 201
        assert owner.nothing_half_written()
        assert owner.reads_go_on()


def test_a_disk_that_became_read_only_is_unavailable_until_it_can_be_written_again(
    small_store: Volume, owner: Owner
) -> None:
    assert owner.upload(picture()).status == 201
    small_store.read_only(True)
    answer = owner.upload(picture())

    assert refused(answer, 503, "storage_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert owner.nothing_half_written()
    assert owner.reads_go_on()

    small_store.read_only(False)
    assert owner.upload(picture()).status == 201
    assert owner.nothing_half_written()
    until(lambda: readiness() == 200, "images is ready")
