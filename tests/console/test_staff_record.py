"""What staff does leaves audit events: who, what, when, from where, in which request."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from auth.models import AuditEvent
from images.models import Image, Owner

pytestmark = pytest.mark.django_db(databases=["default", "images"])

PASSWORD = "lantern-orchid-mosaic-41"
ADDRESS = "127.0.0.1"
REQUEST = "0123456789abcdef"


@pytest.fixture
def chief(db: None) -> User:
    return User.objects.create_superuser("chief", password=PASSWORD)


def sign_in(client: Client, *, username: str = "chief", password: str = PASSWORD) -> Any:
    return client.post("/login/", {"username": username, "password": password}, headers={"X-Request-ID": REQUEST})


def recorded(what: str) -> list[tuple[Any, ...]]:
    events = AuditEvent.objects.filter(what=what)
    return list(events.values_list("account_id", "address", "request_id", "details"))


def store(owner: UUID) -> Image:
    Owner.objects.get_or_create(account_id=owner, defaults={"image_count": 2, "stored_bytes": 2})
    return Image.objects.create(
        id=uuid4(),
        owner=owner,
        content_type="image/png",
        extension="png",
        width=1,
        height=1,
        size_bytes=1,
        sha256="0" * 64,
        animated=False,
    )


def test_a_sign_in_and_a_sign_out_of_staff_are_recorded(client: Client, chief: User) -> None:
    assert sign_in(client).status_code == 302
    client.post("/logout/", headers={"X-Request-ID": REQUEST})

    who = {"staff": str(chief.pk)}
    assert recorded("staff_signed_in") == [(None, ADDRESS, REQUEST, who)]
    assert recorded("staff_signed_out") == [(None, ADDRESS, REQUEST, who)]


def test_a_failure_is_recorded_without_what_was_typed(client: Client, chief: User) -> None:
    sign_in(client, password="mistyped-password")
    sign_in(client, username="mistyped-username")

    assert recorded("staff_sign_in_failed") == [
        (None, ADDRESS, REQUEST, {}),
        (None, ADDRESS, REQUEST, {"staff": str(chief.pk)}),
    ]
    assert "mistyped" not in str(list(AuditEvent.objects.values()))


def test_signing_out_of_nothing_is_no_event(client: Client, chief: User) -> None:
    client.post("/logout/")

    assert not AuditEvent.objects.exclude(what="staff_added").exists()


@pytest.mark.parametrize("way", ["one", "selected"])
def test_an_image_that_staff_removes_is_recorded_with_its_owner(client: Client, chief: User, way: str) -> None:
    client.force_login(chief)
    owner = uuid4()
    removed = [store(owner)] if way == "one" else [store(owner), store(owner)]
    if way == "one":
        client.post(f"/images/image/{removed[0].pk}/delete/", {"post": "yes"}, headers={"X-Request-ID": REQUEST})
    else:
        chosen = {"action": "delete_selected", "_selected_action": [str(image.pk) for image in removed], "post": "yes"}
        client.post("/images/image/", chosen, headers={"X-Request-ID": REQUEST})

    assert not Image.objects.filter(owner=owner).exists()
    events = recorded("image_deleted_by_staff")
    assert {event[3]["image"] for event in events} == {str(image.pk) for image in removed}
    assert {(event[0], event[1], event[2], event[3]["staff"]) for event in events} == {
        (owner, ADDRESS, REQUEST, str(chief.pk))
    }


def test_an_image_whose_removal_cannot_be_recorded_stays(
    client: Client, chief: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(chief)
    client.raise_request_exception = False
    image = store(uuid4())
    monkeypatch.setattr("auth.audit.record", lambda *args, **kwargs: 1 / 0)

    answer = client.post(f"/images/image/{image.pk}/delete/", {"post": "yes"})

    assert answer.status_code == 500
    assert Image.objects.filter(pk=image.pk).exists()


def test_staff_who_may_not_remove_images_leaves_image_and_record_alone(client: Client) -> None:
    onlooker = User.objects.create_user("onlooker", is_staff=True)
    onlooker.user_permissions.set(Permission.objects.filter(codename="view_image"))
    client.force_login(onlooker)
    image = store(uuid4())

    assert client.post(f"/images/image/{image.pk}/delete/", {"post": "yes"}).status_code == 403

    assert Image.objects.filter(pk=image.pk).exists()
    assert recorded("image_deleted_by_staff") == []


def details(what: str) -> list[dict[str, Any]]:
    return [found[3] for found in recorded(what)]


def test_a_superuser_made_on_the_command_line_is_recorded(db: None) -> None:
    made = User.objects.create_superuser("second", password=PASSWORD)

    assert details("staff_added") == [{"staff": "command line", "user": str(made.pk)}]


def test_who_adds_and_changes_staff_on_the_pages_is_recorded(client: Client, chief: User) -> None:
    sign_in(client)
    form = {"username": "colleague", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert client.post("/auth/user/add/", form, headers={"X-Request-ID": REQUEST}).status_code == 302
    colleague = User.objects.get(username="colleague")
    who = {"staff": str(chief.pk), "user": str(colleague.pk)}
    assert recorded("staff_added")[0] == (None, ADDRESS, REQUEST, who)

    permission = Permission.objects.get(codename="view_auditevent")
    joined = colleague.date_joined
    form = {
        "username": "colleague",
        "is_active": "on",
        "is_superuser": "on",
        "user_permissions": [str(permission.pk)],
        "date_joined_0": f"{joined:%Y-%m-%d}",
        "date_joined_1": f"{joined:%H:%M:%S}",
    }
    assert client.post(f"/auth/user/{colleague.pk}/change/", form).status_code == 302
    new = {"password1": f"{PASSWORD}-2", "password2": f"{PASSWORD}-2", "usable_password": "true"}
    assert client.post(f"/auth/user/{colleague.pk}/password/", new).status_code == 302
    assert client.post(f"/auth/user/{colleague.pk}/delete/", {"post": "yes"}).status_code == 302

    changes = [change for change in details("staff_changed") if change["user"] == str(colleague.pk)]
    assert all(change["staff"] == str(chief.pk) for change in changes)
    fields = [field for change in changes for field in change["fields"]]
    assert {"is_superuser", "password"} <= set(fields)
    assert [change["ids"] for change in changes if "ids" in change] == [[str(permission.pk)]]
    assert details("staff_removed") == [who]
    assert PASSWORD not in str(details("staff_changed"))


def test_a_sign_in_is_no_change_of_staff(client: Client, chief: User) -> None:
    sign_in(client)

    assert details("staff_changed") == []
