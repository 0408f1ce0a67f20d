"""The console's pages about images: what staff see, and how an image is removed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from images import library
from images.models import Image, Owner
from internal import context
from internal.contracts import StoredImage
from tests.images.pictures import corners, saved

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "images"])

PNG = saved(corners(), "PNG")


@pytest.fixture(autouse=True)
def image_root(settings: Any, tmp_path: Path) -> Path:
    """The folder of the store, empty at first."""
    entry = settings.STORAGES["images"]
    options = entry["OPTIONS"] | {"location": str(tmp_path)}
    settings.STORAGES = {**settings.STORAGES, "images": entry | {"OPTIONS": options}}
    return tmp_path


@pytest.fixture
def chief(client: Client) -> Client:
    """Staff who may do everything that anybody may."""
    client.force_login(User.objects.create_superuser("chief"))
    return client


def stored() -> StoredImage:
    return library.store_image(uuid4(), io.BytesIO(PNG), as_profile_image=True)


def files_in(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("count", [1, 12])
def test_the_list_shows_thumbnails_and_takes_as_many_queries_for_many(
    chief: Client, settings: Any, count: int, django_assert_num_queries: Any
) -> None:
    images = [stored() for _ in range(count)]

    with django_assert_num_queries(2, using="images"):
        page = chief.get("/images/image/").content.decode()

    for image in images:
        assert f'src="{settings.UPLOADS_URL}{image.avatar_path}"' in page
    assert "style=" not in page


def test_a_page_shows_the_image_and_offers_nothing_to_edit(chief: Client, settings: Any) -> None:
    image = stored()

    page = chief.get(f"/images/image/{image.id}/change/").content.decode()

    assert f'href="{settings.UPLOADS_URL}{image.path}"' in page
    assert f'src="{settings.UPLOADS_URL}{image.card_path}"' in page
    assert 'name="_save"' not in page
    assert chief.get("/images/image/add/").status_code == 403


def test_images_are_found_by_how_an_id_begins(chief: Client) -> None:
    image, other = stored(), stored()
    owner = Image.objects.get(id=image.id).owner

    for text in (str(image.id)[:8], str(owner), str(owner)[:13]):
        page = chief.get("/images/image/", {"q": text}).content.decode()

        assert image.avatar_path in page
        assert other.avatar_path not in page
    assert chief.get("/images/image/", {"q": "no such thing %_'"}).status_code == 200


def test_deleting_one_takes_its_bytes_and_what_the_account_keeps(chief: Client, image_root: Path) -> None:
    image, kept = stored(), stored()
    owner = Image.objects.get(id=image.id).owner

    chief.post(f"/images/image/{image.id}/delete/", {"post": "yes"})

    assert [image.id for image in Image.objects.all()] == [kept.id]
    assert all(path.name.startswith(str(kept.id)) for path in files_in(image_root))
    assert (Owner.objects.get(account_id=owner).image_count, Owner.objects.get(account_id=owner).stored_bytes) == (0, 0)


def test_deleting_several_takes_their_bytes_too(chief: Client, image_root: Path) -> None:
    ids = [str(stored().id) for _ in range(3)]

    chief.post("/images/image/", {"action": "delete_selected", "_selected_action": ids, "post": "yes"})

    assert not Image.objects.exists()
    assert files_in(image_root) == []
    assert not Owner.objects.exclude(image_count=0).exists()


def test_deleting_many_may_take_longer_than_a_request_of_a_person(chief: Client) -> None:
    ids = [str(stored().id) for _ in range(2)]
    context.bind_wait(context.REQUEST_DEADLINE + 1)

    chief.post("/images/image/", {"action": "delete_selected", "_selected_action": ids, "post": "yes"})

    assert not Image.objects.exists()


def test_accounts_are_listed_by_what_they_keep_and_cannot_be_deleted(chief: Client) -> None:
    image = stored()
    owner = Image.objects.get(id=image.id).owner
    closed = uuid4()
    library.close_account(closed)

    assert str(owner) in chief.get("/images/owner/").content.decode()
    page = chief.get("/images/owner/", {"state": "closed"}).content.decode()
    assert str(closed) in page
    assert str(owner) not in page
    assert chief.get(f"/images/owner/{owner}/change/").status_code == 200
    assert chief.post(f"/images/owner/{owner}/delete/", {"post": "yes"}).status_code == 403


def test_staff_see_only_what_they_have_a_permission_for(client: Client) -> None:
    image = stored()
    viewer = User.objects.create_user("viewer", is_staff=True)
    client.force_login(viewer)
    assert client.get("/images/image/").status_code == 403

    viewer.user_permissions.add(Permission.objects.get(codename="view_image"))
    assert client.get("/images/image/").status_code == 200
    assert client.post(f"/images/image/{image.id}/delete/", {"post": "yes"}).status_code == 403
    client.force_login(User.objects.create_user("person"))
    assert client.get("/images/image/").status_code == 302
    assert Image.objects.filter(id=image.id).exists()
