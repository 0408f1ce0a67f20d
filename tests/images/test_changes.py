"""Images tells whose images have changed: exactly what was committed since, whoever changed them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from rest_framework.test import APIClient

from images.changes import feed
from images.models import Image, Owner, SignatureNonce
from internal import contracts, signing
from tests.changes import EVERYTHING, Reader, check_interleaved, someone_else
from tests.images.conftest import Person
from tests.images.pictures import corners, saved

pytestmark = pytest.mark.django_db(transaction=True)

PNG = saved(corners(), "PNG")


def stored(owner: UUID) -> Image:
    """A record, without its bytes."""
    return Image.objects.create(
        owner=owner, content_type="image/png", extension="png", width=1, height=1, size_bytes=1, sha256="0" * 64,
        animated=False,
    )  # fmt: skip


def asked(query: str = "") -> Any:
    path = f"/internal/v1/changes{query}"
    headers = signing.sign(django_settings.SERVICE_KEYS, method="GET", path=path, body_digest=signing.EMPTY_DIGEST)
    return APIClient().get(path, headers=headers)


def test_everything_that_a_person_does_with_images_is_told(person: Person, stranger: Person) -> None:
    reader = Reader(feed)
    image = person.upload(PNG).json()["id"]
    assert reader.news() == {person.id}
    assert stranger.upload(PNG).status_code == 201
    assert reader.news() == {stranger.id}

    assert person.client.put("/internal/v1/profile-image", {"image_id": image}, format="json").status_code == 200
    assert reader.news() == {person.id}
    assert person.client.delete("/internal/v1/profile-image").status_code == 204
    assert reader.news() == {person.id}
    assert person.client.get("/internal/v1/images").json()["total"] == 1
    assert reader.news() == set()
    assert person.client.delete(f"/internal/v1/images/{image}").status_code == 204
    assert reader.news() == {person.id}
    assert stranger.client.delete("/internal/v1/account").status_code == 204
    assert reader.news() == {stranger.id}


def test_an_image_that_gets_another_owner_is_told_of_both() -> None:
    one, other = uuid4(), uuid4()
    image = stored(one)
    reader = Reader(feed)
    Image.objects.filter(pk=image.pk).update(owner=other)

    assert reader.news() == {one, other}


def test_what_an_owner_keeps_is_told_however_it_changes() -> None:
    owner = uuid4()
    reader = Reader(feed)
    Owner.objects.create(account_id=owner)
    assert reader.news() == {owner}
    Owner.objects.filter(pk=owner).update(image_count=3)
    assert reader.news() == {owner}
    Owner.objects.filter(pk=owner).delete()
    assert reader.news() == {owner}
    Owner.objects.filter(pk=owner).update(image_count=4)
    assert reader.news() == set()


@pytest.mark.parametrize("table", ["images_image", "images_owner"])
def test_emptying_a_table_at_once_changes_everything(table: str) -> None:
    reader = Reader(feed)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table} CASCADE")

    assert reader.news() == EVERYTHING
    assert reader.news() == set()


def test_many_transactions_at_once_are_each_told_after_their_commit_and_just_once() -> None:
    owners = [uuid4() for _ in range(120)]
    Owner.objects.bulk_create(Owner(account_id=owner) for owner in owners)

    def change(other: Any, owner: UUID) -> None:
        other.execute("UPDATE images_owner SET image_count = image_count + 1 WHERE account_id = %s", [owner])

    check_interleaved(feed, owners, change)


def test_the_call_says_what_the_feed_says_and_writes_nothing() -> None:
    owner = uuid4()
    first = contracts.Changes.from_json(asked().json())
    with someone_else() as running:
        running.execute("SELECT pg_current_xact_id()")
        second = contracts.Changes.from_json(asked(f"?after={first.position}").json())
        stored(owner)
        response = asked(f"?after={second.position}")

    told = contracts.Changes.from_json(response.json())
    assert (first.all, told.accounts, told.all, told.epoch) == (True, (owner,), False, first.epoch)
    assert response["Cache-Control"] == "no-store"
    assert not SignatureNonce.objects.exists()
    assert asked("?after=rubbish").json()["code"] == "invalid_input"
    assert APIClient().get("/internal/v1/changes").json()["code"] == "invalid_signature"
    assert Person().client.get("/internal/v1/changes").json()["code"] == "invalid_signature"


def test_the_reaper_prunes_and_a_dry_run_does_not() -> None:
    before = feed.since(None)
    for _ in range(3):
        stored(uuid4())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE images_change SET at = now() - interval '61 minutes'")

    call_command("images", "reap", "--dry-run")
    assert len(feed.since(before.position).accounts) == 3
    call_command("images", "reap")
    assert feed.since(before.position).all


def test_its_migration_goes_back_and_forth_while_the_role_is_at_work() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([("images", "0004_removal")])
    try:
        without = Reader(feed)
        assert without.news() == EVERYTHING
        stored(uuid4())
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    assert without.news() == EVERYTHING
    assert without.news() == set()
