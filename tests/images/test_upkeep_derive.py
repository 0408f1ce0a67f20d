"""`manage.py images derive`: avatars and cards, made again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, connection

from images import derivatives, library, libwebp, store
from images.models import Image
from images.upkeep import deriving, walking
from tests.images.commands import PNG, content_of, flipped, images, overwrite, stored_image
from tests.images.pictures import animated, animation, corners, exif, opened, photo, saved
from tests.images.ssim import ssim

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("any_store")]


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that makes smaller cards."""
    monkeypatch.setattr(derivatives, "DERIVATION", 2)
    monkeypatch.setattr(derivatives, "CARD_SIDE", 20)


def test_what_is_missing_is_made_again_and_nothing_else_is_touched() -> None:
    whole, without_card, without_both = (stored_image() for _ in range(3))
    before = {name: content_of(name) for image in Image.objects.all() for name in image.stored_names}
    moment = store.look(whole.stored_names[1])
    store.remove([without_card.stored_names[2], *without_both.stored_names[1:]])

    ran = images("derive")

    assert ran.status == 0
    assert ran.findings == {("remade", image.stored_names[0]) for image in (without_card, without_both)}
    assert ran.summary == {"what": "summary", "images": 3, "remade": 2, "failed": 0}
    assert {name: content_of(name) for name in before} == before
    assert store.look(whole.stored_names[1]) == moment
    assert images("derive").summary["remade"] == 0


def test_a_damaged_one_is_made_again() -> None:
    image = stored_image()
    avatar, card = (content_of(name) for name in image.stored_names[1:])
    overwrite(image.stored_names[1], avatar[:100])
    overwrite(image.stored_names[2], card[:20])

    assert images("derive").summary["remade"] == 1
    assert [content_of(name) for name in image.stored_names[1:]] == [avatar, card]


@pytest.mark.parametrize(
    "data",
    [
        PNG,
        saved(corners(mode="P"), "PNG", transparency=0),
        saved(corners(mode="LA"), "PNG"),
        saved(photo(700, 500), "WEBP", lossless=True, exif=exif(6).tobytes()),
        animated("GIF", animation(), duration=50),
        animated("WEBP", animation(), duration=50, lossless=True),
    ],
    ids=["png", "palette", "grey with alpha", "webp", "gif", "animated webp"],
)
def test_they_are_the_same_again_byte_for_byte_when_the_picture_was_stored_without_loss(data: bytes) -> None:
    image = stored_image(data=data)
    before = [content_of(name) for name in image.stored_names[1:]]

    assert images("derive", "--all").summary["remade"] == 1

    assert [content_of(name) for name in image.stored_names[1:]] == before


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_is_decoded_as_leanly_as_when_it_was_uploaded(lossless: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    image = stored_image(data=saved(photo(900, 600), "WEBP", lossless=lossless))
    before = [opened(content_of(name)) for name in image.stored_names[1:]]
    sizes: list[tuple[int, int]] = []
    decoded = libwebp.decoded

    def noted(data: bytes, size: tuple[int, int], *, transparent: bool) -> Any:
        sizes.append(size)
        return decoded(data, size, transparent=transparent)

    monkeypatch.setattr(libwebp, "decoded", noted)

    assert images("derive", "--all").summary["remade"] == 1

    assert sizes == [(900, 600)]
    after = [opened(content_of(name)) for name in image.stored_names[1:]]
    assert all(ssim(old, new) > 0.98 for old, new in zip(before, after, strict=True))


def test_they_look_the_same_again_when_the_picture_was_encoded_anew() -> None:
    image = stored_image(data=saved(photo(900, 600), "JPEG", exif=exif(6).tobytes(), quality=85))
    before = [opened(content_of(name)) for name in image.stored_names[1:]]

    images("derive", "--all")

    after = [opened(content_of(name)) for name in image.stored_names[1:]]
    assert all(ssim(old, new) > 0.98 for old, new in zip(before, after, strict=True))


@pytest.mark.usefixtures("smaller")
def test_new_sizes_have_new_names_and_the_old_files_go(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivatives, "DERIVATION", 1)
    old = stored_image()
    monkeypatch.setattr(derivatives, "DERIVATION", 2)

    assert images("derive").summary["remade"] == 1

    image = Image.objects.get()
    stem = f"uploads/{old.id}"
    assert image.stored_names == (f"{stem}.png", f"{stem}.avatar-2.webp", f"{stem}.card-2.webp")
    assert stored() == set(image.stored_names)
    assert image.to_contract().card_path == f"/{stem}.card-2.webp"
    assert max(opened(content_of(image.stored_names[2])).size) == 20
    assert images("derive").summary["remade"] == 0


@pytest.mark.usefixtures("smaller")
def test_an_upload_gets_the_pictures_of_now(stored: Any) -> None:
    image = stored_image()

    assert image.derivation == 2
    assert stored() == set(image.stored_names)
    assert images("verify").status == 0
    library.delete_image(image.owner, image.id)
    assert stored() == set()


def test_the_new_ones_are_there_before_the_record_changes_and_the_old_ones_until_it_has(
    monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    image = stored_image()
    monkeypatch.setattr(derivatives, "DERIVATION", 2)
    seen: list[set[str]] = []
    commit = connection.commit

    def look_and_commit() -> None:
        seen.append(stored())
        commit()

    monkeypatch.setattr(connection, "commit", look_and_commit)
    images("derive")
    monkeypatch.undo()

    assert {*image.stored_names, *store.names(image.id, "png", 2)} in seen
    assert stored() == set(store.names(image.id, "png", 2))


def test_a_run_that_ends_before_the_record_changes_loses_nothing(monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    image = stored_image()
    monkeypatch.setattr(derivatives, "DERIVATION", 2)

    def fail() -> None:
        connection.rollback()
        raise DatabaseError("the connection is lost")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "commit", fail)
        with pytest.raises(DatabaseError):
            images("derive")

    assert set(image.stored_names) <= stored()
    assert Image.objects.get().stored_names == image.stored_names
    assert images("derive").summary["remade"] == 1
    assert stored() == set(store.names(image.id, "png", 2))


@pytest.mark.parametrize("derivation", [1, 2])
def test_nothing_stays_of_an_image_that_is_deleted_meanwhile(
    derivation: int, monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    image, other = stored_image(), stored_image()
    monkeypatch.setattr(derivatives, "DERIVATION", derivation)
    made = deriving._made

    @contextmanager
    def made_and_deleted(of: Image) -> Any:
        with made(of) as files:
            if of.id == image.id:
                library.delete_image(image.owner, image.id)
            yield files

    monkeypatch.setattr(deriving, "_made", made_and_deleted)
    ran = images("derive", "--all")

    assert (ran.status, ran.summary["remade"]) == (0, 1)
    assert stored() == set(store.names(other.id, "png", derivation))


def test_a_picture_that_cannot_be_read_is_told_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    fine, missing, damaged = (stored_image() for _ in range(3))
    store.remove(fine.stored_names[1:])
    store.remove(missing.stored_names)
    store.remove(damaged.stored_names[1:])
    flipped(damaged.stored_names[0])

    ran = images("derive")

    assert ran.status == 1
    assert "For 2 images they could not be made" in ran.error
    assert ran.findings == {
        ("remade", fine.stored_names[0]),
        ("not made", missing.stored_names[0]),
        ("not made", damaged.stored_names[0]),
    }
    assert content_of(damaged.stored_names[1]) is None


def test_a_dry_run_makes_nothing(stored: Any) -> None:
    image = stored_image()
    store.remove(image.stored_names[1:])

    ran = images("derive", "--dry-run")

    assert (ran.status, ran.summary["remade"]) == (0, 1)
    assert stored() == {image.stored_names[0]}


def test_any_number_of_records_is_gone_through_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "PAGE", 2)
    for _ in range(5):
        store.remove(stored_image().stored_names[1:])

    assert images("derive").summary == {"what": "summary", "images": 5, "remade": 5, "failed": 0}


def test_a_role_of_the_release_before_goes_on_storing() -> None:
    image = stored_image()
    columns = [field.column for field in Image._meta.fields if field.name not in {"id", "derivation"}]
    names = ", ".join(columns)

    with connection.cursor() as cursor:  # an INSERT that does not know of the new column
        cursor.execute(
            f"INSERT INTO images_image (id, {names}) SELECT gen_random_uuid(), {names} FROM images_image "  # noqa: S608
            "WHERE id = %s RETURNING derivation",
            [image.id],
        )
        assert cursor.fetchone() == (1,)
