"""ImagesClient against the real images role: every method, and every rejection that it documents."""

from __future__ import annotations

import datetime as dt
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from internal.clients import ImagesClient
from internal.contracts import ImagePage, StoredImage
from internal.transport import Body
from tests.contracts.conftest import Member, rejection
from tests.running import ask, environment_of, inside, picture, url

MEGABYTE = 1024 * 1024


def upload(images: ImagesClient, member: Member, data: bytes | None = None, **options: Any) -> StoredImage:
    content = data or picture()
    return images.upload(member.token, io.BytesIO(content), len(content), **options)


def huge_header() -> bytes:
    """A PNG that says it has 50,000 by 50,000 pixels, and ends there."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk


def long_animation() -> bytes:
    """A GIF of 201 frames."""
    frames = [Image.new("P", (8, 8), color) for color in range(201)]
    for color, frame in enumerate(frames):
        frame.putpalette([color, 0, 255 - color] * 256)
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=40)
    return buffer.getvalue()


FAULTY = [
    pytest.param(lambda: b"", "not_an_image", id="no bytes"),
    pytest.param(lambda: b"hello, this is no picture", "not_an_image", id="a text"),
    pytest.param(lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image", id="an SVG"),
    pytest.param(lambda: picture(noise=True)[:4000], "not_an_image", id="half a PNG"),
    pytest.param(lambda: picture(kind="BMP"), "not_an_image", id="a BMP"),
    pytest.param(huge_header, "too_many_pixels", id="2500 million pixels"),
    pytest.param(long_animation, "too_many_frames", id="201 frames"),
]


# validate


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_good_image_is_acceptable_and_not_kept(images: ImagesClient, kind: str) -> None:
    before = stored_files()
    data = picture(kind=kind)

    images.validate(io.BytesIO(data), len(data))

    assert stored_files() == before


@pytest.mark.parametrize(("make", "code"), FAULTY)
def test_a_faulty_image_is_not_acceptable(images: ImagesClient, make: Callable[[], bytes], code: str) -> None:
    data = make()

    problem = rejection(lambda: images.validate(io.BytesIO(data), len(data)), code)

    assert [(fault.field, fault.code) for fault in problem.errors] == [("image", code)]
    assert problem.errors[0].message


# upload


@pytest.mark.parametrize(
    ("kind", "content_type", "extension"),
    [
        ("PNG", "image/png", "png"),
        ("JPEG", "image/jpeg", "jpg"),
        ("WEBP", "image/webp", "webp"),
        ("GIF", "image/gif", "gif"),
    ],
)
def test_an_uploaded_image_is_described_and_served(
    images: ImagesClient, member: Member, kind: str, content_type: str, extension: str
) -> None:
    stored = upload(images, member, picture(1000, 500, kind=kind))

    age = dt.datetime.now(dt.UTC) - stored.created_at
    assert dt.timedelta(seconds=-1) < age < dt.timedelta(seconds=10)
    assert stored == StoredImage(
        id=stored.id,
        content_type=content_type,
        width=1000,
        height=500,
        size_bytes=stored.size_bytes,
        animated=False,
        created_at=stored.created_at,
        is_profile_image=False,
        path=f"/uploads/{stored.id}.{extension}",
        avatar_path=f"/uploads/{stored.id}.avatar.webp",
        card_path=f"/uploads/{stored.id}.card.webp",
    )
    sizes = {}
    for path in (stored.path, stored.avatar_path, stored.card_path):
        served = ask("GET", url("files") + path)
        assert served.status == 200
        sizes[path] = Image.open(io.BytesIO(served.body)).size
    assert sizes == {stored.path: (1000, 500), stored.avatar_path: (256, 256), stored.card_path: (640, 320)}
    assert len(ask("GET", url("files") + stored.path).body) == stored.size_bytes


@pytest.mark.parametrize(("make", "code"), FAULTY)
def test_a_faulty_image_is_not_stored(
    images: ImagesClient, member: Member, make: Callable[[], bytes], code: str
) -> None:
    before = stored_files()

    problem = rejection(lambda: upload(images, member, make() or b"\0"), code)

    assert [(fault.field, fault.code) for fault in problem.errors] == [("image", code)]
    assert images.list(member.token) == ImagePage((), None, 0)
    assert stored_files() == before


def test_a_file_over_ten_megabytes_is_refused_by_the_client_and_by_the_service(
    images: ImagesClient, member: Member
) -> None:
    data = b"\x89PNG\r\n\x1a\n" + b"\0" * (10 * MEGABYTE)

    by_client = rejection(lambda: upload(images, member, data), "image_too_large")
    by_service = rejection(
        lambda: images.transport.call(
            "upload", "POST", "/internal/v1/images", token=member.token, body=Body(io.BytesIO(data), len(data))
        ),
        "image_too_large",
    )

    assert by_client == by_service
    assert [(fault.field, fault.code) for fault in by_client.errors] == [("image", "image_too_large")]


def test_a_file_of_ten_megabytes_to_the_byte_is_accepted(images: ImagesClient, member: Member) -> None:
    data = picture(kind="JPEG", noise=True)
    data += b"\0" * (10 * MEGABYTE - len(data))

    stored = upload(images, member, data)

    assert (stored.width, stored.height) == (320, 240)


def test_an_account_stores_five_hundred_images_and_no_more(images: ImagesClient, member: Member) -> None:
    upload(images, member)
    inside(
        "images",
        "from images.models import Owner\n"
        f"Owner.objects.filter(account_id='{member.account.id}').update(image_count=500)",
    )

    problem = rejection(lambda: upload(images, member), "image_quota_exceeded")

    assert [(fault.field, fault.code) for fault in problem.errors] == [("image", "image_quota_exceeded")]
    assert len(images.list(member.token).items) == 1


@pytest.fixture
def _store_gone() -> Iterator[None]:
    """The folder of the store cannot be written: something else is in its place."""
    root = Path(environment_of("images")["IMAGE_ROOT"])
    aside = root.with_name("images-aside")
    os.rename(root, aside)
    try:
        root.write_text("not a folder")
        yield
    finally:
        root.unlink()
        os.rename(aside, root)


@pytest.mark.usefixtures("_store_gone")
def test_a_store_that_does_not_answer_is_named(images: ImagesClient, member: Member) -> None:
    problem = rejection(lambda: upload(images, member), "storage_unavailable")

    assert problem.retry_after
    assert images.list(member.token) == ImagePage((), None, 0)


def test_an_image_is_stored_as_the_profile_image_at_once(images: ImagesClient, member: Member) -> None:
    first = upload(images, member, as_profile_image=True)
    second = upload(images, member, as_profile_image=True)

    assert first.is_profile_image
    assert second.is_profile_image
    assert images.profile_image(member.token) == second
    assert images.get(member.token, first.id).is_profile_image is False


# upload_for


def test_the_image_of_a_new_account_becomes_its_profile_image(images: ImagesClient, member: Member) -> None:
    data = picture()

    stored = images.upload_for(member.account.id, io.BytesIO(data), len(data))

    assert stored.is_profile_image
    assert images.profile_image(member.token) == stored


@pytest.mark.parametrize(("make", "code"), FAULTY)
def test_a_faulty_image_of_a_new_account_is_not_stored(
    images: ImagesClient, member: Member, make: Callable[[], bytes], code: str
) -> None:
    data = make()

    rejection(lambda: images.upload_for(member.account.id, io.BytesIO(data), len(data)), code)

    assert images.profile_image(member.token) is None


# list and get


def test_images_are_listed_newest_first_page_by_page(images: ImagesClient, member: Member) -> None:
    stored = [upload(images, member) for _ in range(5)]

    first = images.list(member.token, limit=2)
    second = images.list(member.token, limit=2, cursor=first.next_cursor)
    third = images.list(member.token, limit=2, cursor=second.next_cursor)

    assert (*first.items, *second.items, *third.items) == tuple(reversed(stored))
    assert [page.total for page in (first, second, third)] == [5, 5, 5]
    assert third.next_cursor is None


def test_an_image_stored_meanwhile_does_not_shift_the_pages(images: ImagesClient, member: Member) -> None:
    stored = [upload(images, member) for _ in range(3)]
    first = images.list(member.token, limit=2)
    upload(images, member)

    second = images.list(member.token, limit=2, cursor=first.next_cursor)

    assert second.items == (stored[0],)


@pytest.mark.parametrize("cursor", ["nonsense", "AAAA", "x" * 101, "\0", "../../etc"])
def test_a_cursor_that_nobody_was_given_is_refused(images: ImagesClient, member: Member, cursor: str) -> None:
    problem = rejection(lambda: images.list(member.token, cursor=cursor), "invalid_input")

    assert [fault.field for fault in problem.errors] == ["cursor"]


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_a_page_has_one_to_a_hundred_images(images: ImagesClient, member: Member, limit: int) -> None:
    problem = rejection(lambda: images.list(member.token, limit=limit), "invalid_input")

    assert [fault.field for fault in problem.errors] == ["limit"]


def test_a_list_shows_nobody_elses_images(images: ImagesClient, member: Member, stranger: Member) -> None:
    upload(images, stranger)

    assert images.list(member.token) == ImagePage((), None, 0)


def test_an_image_reads_back_as_it_was_stored(images: ImagesClient, member: Member) -> None:
    stored = upload(images, member)

    assert images.get(member.token, stored.id) == stored


# another person's, and nobody's


@pytest.mark.parametrize(
    "call",
    [ImagesClient.get, ImagesClient.delete, ImagesClient.set_profile_image],
    ids=["get", "delete", "set_profile_image"],
)
def test_another_persons_image_is_as_unknown_as_nobodys(
    images: ImagesClient, member: Member, stranger: Member, call: Callable[..., Any]
) -> None:
    stored = upload(images, member)

    theirs = rejection(lambda: call(images, stranger.token, stored.id), "not_found")
    nobodys = rejection(lambda: call(images, stranger.token, uuid4()), "not_found")

    assert theirs == nobodys
    assert images.get(member.token, stored.id) == stored
    assert images.profile_image(stranger.token) is None


# delete


def test_a_deleted_image_is_gone_with_its_bytes(images: ImagesClient, member: Member) -> None:
    stored = upload(images, member)

    images.delete(member.token, stored.id)

    rejection(lambda: images.get(member.token, stored.id), "not_found")
    rejection(lambda: images.delete(member.token, stored.id), "not_found")
    assert images.list(member.token) == ImagePage((), None, 0)
    for path in (stored.path, stored.avatar_path, stored.card_path):
        assert ask("GET", url("files") + path).status == 404


# profile image


def test_the_profile_image_is_chosen_changed_and_cleared(images: ImagesClient, member: Member) -> None:
    first, second = upload(images, member), upload(images, member)
    assert images.profile_image(member.token) is None

    chosen = images.set_profile_image(member.token, first.id)
    assert chosen.is_profile_image
    assert images.profile_image(member.token) == chosen

    assert images.set_profile_image(member.token, second.id).id == second.id
    assert images.get(member.token, first.id) == first

    images.clear_profile_image(member.token)
    images.clear_profile_image(member.token)
    assert images.profile_image(member.token) is None
    assert images.list(member.token).total == 2


# closing


def test_a_closed_account_has_no_image_and_gets_none(images: ImagesClient, member: Member) -> None:
    stored = upload(images, member, as_profile_image=True)
    data = picture()

    images.close_account(member.token)
    images.close_account(member.token)

    assert images.list(member.token) == ImagePage((), None, 0)
    assert ask("GET", url("files") + stored.path).status == 404
    rejection(lambda: upload(images, member), "conflict")
    rejection(lambda: images.upload_for(member.account.id, io.BytesIO(data), len(data)), "conflict")


def test_the_status_says_that_database_and_store_are_up(images: ImagesClient) -> None:
    status = images.transport.call("status", "GET", "/internal/v1/status").json

    assert (status["service"], status["database"], status["storage"]) == ("images", "up", "up")


def stored_files() -> set[str]:
    """The names in the store, and whatever is on its way there."""
    root = Path(environment_of("images")["IMAGE_ROOT"])
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


# changes


def test_a_change_is_told_once_to_whoever_asks_from_the_place_of_the_answer_before(
    images: ImagesClient, member: Member
) -> None:
    first = images.changes(None)
    assert (first.all, first.accounts) == (True, ())
    image = upload(images, member)
    second = images.changes(first.position)
    assert (second.epoch, second.all, second.accounts) == (first.epoch, False, (member.account.id,))

    assert images.changes(second.position).accounts == ()
    images.delete(member.token, image.id)
    assert images.changes(second.position).accounts == (member.account.id,)


def test_a_position_of_something_else_is_refused(images: ImagesClient) -> None:
    problem = rejection(lambda: images.changes("rubbish & more"), "invalid_input")

    assert [(fault.field, fault.code) for fault in problem.errors] == [("after", "invalid")]
