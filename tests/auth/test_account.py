"""GET, PATCH and DELETE account, POST account/password."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from auth import accounts, sessions
from auth.models import Account, AuditEvent, RefreshToken, Session, SignInFailure
from internal.transport import CLIENT_ADDRESS_HEADER
from tests.auth import calls

pytestmark = pytest.mark.django_db

CALLS = [
    ("GET", "account", None),
    ("PATCH", "account", {"name": "Mallory"}),
    ("DELETE", "account", None),
    ("POST", "account/password", {"current_password": calls.PASSWORD, "new_password": calls.OTHER_PASSWORD}),
    ("GET", "sessions", None),
    ("DELETE", "sessions/00000000-0000-4000-8000-000000000000", None),
]


@pytest.mark.parametrize(("method", "path", "payload"), CALLS)
def test_nobody_gets_in_without_a_token(grant: dict[str, Any], method: str, path: str, payload: Any) -> None:
    assert calls.problem(calls.personal(method, path, None, payload))[:2] == (401, "unauthenticated")
    assert Account.objects.get().name == "Ada Lovelace"


@pytest.mark.parametrize(("method", "path", "payload"), CALLS)
def test_nobody_gets_in_after_the_end_of_the_session(
    grant: dict[str, Any], method: str, path: str, payload: Any
) -> None:
    calls.signed("sessions/revoke", {"refresh_token": grant["refresh_token"]})

    response = calls.personal(method, path, grant["access_token"], payload)

    assert calls.problem(response)[:2] == (401, "invalid_token")
    assert Account.objects.get().name == "Ada Lovelace"


@pytest.mark.parametrize(("method", "path", "payload"), CALLS)
def test_a_signature_is_no_access_token(grant: dict[str, Any], method: str, path: str, payload: Any) -> None:
    assert calls.problem(calls.signed(path, payload or {}, method=method))[:2] == (401, "unauthenticated")
    assert Account.objects.get().name == "Ada Lovelace"


def test_a_person_reads_the_own_account(grant: dict[str, Any], other: dict[str, Any]) -> None:
    response = calls.personal("GET", "account", grant["access_token"])

    assert response.status_code == 200
    mine = json.loads(response.content)
    assert (mine["name"], mine["email"]) == ("Ada Lovelace", calls.EMAIL)
    assert mine["last_sign_in_at"] is not None


def test_a_new_name_needs_no_password(grant: dict[str, Any], other: dict[str, Any]) -> None:
    response = calls.personal("PATCH", "account", grant["access_token"], {"name": "Ada King", "unknown": [1]})

    assert response.status_code == 200
    assert json.loads(response.content)["name"] == "Ada King"
    assert sorted(Account.objects.values_list("name", flat=True)) == ["Ada King", "Grace Hopper"]
    event = AuditEvent.objects.get(what="profile_changed")
    assert (event.session_id, event.details) == (calls.session_id(grant), {"fields": ["name"]})


def test_nothing_in_a_change_changes_nothing(grant: dict[str, Any]) -> None:
    response = calls.personal("PATCH", "account", grant["access_token"], {})

    assert (response.status_code, json.loads(response.content)["name"]) == (200, "Ada Lovelace")
    assert not AuditEvent.objects.filter(what="profile_changed").exists()


def test_a_new_email_address_needs_the_current_password(grant: dict[str, Any]) -> None:
    change = {"email": "ada.king@example.org"}

    missing = calls.personal("PATCH", "account", grant["access_token"], change)
    wrong = calls.personal("PATCH", "account", grant["access_token"], change | {"current_password": "wrong"})
    right = calls.personal("PATCH", "account", grant["access_token"], change | {"current_password": calls.PASSWORD})

    assert calls.problem(missing) == (422, "invalid_input", [("current_password", "required")])
    assert calls.problem(wrong) == (422, "wrong_password", [("current_password", "wrong_password")])
    assert (right.status_code, json.loads(right.content)["email"]) == (200, "ada.king@example.org")
    assert Account.objects.get().email_key == "ada.king@example.org"
    assert calls.try_sign_in().status_code == 401
    assert calls.try_sign_in(email="ada.king@example.org").status_code == 200
    assert "king" not in str(list(AuditEvent.objects.values()))


def test_the_address_of_another_person_stays_with_that_person(grant: dict[str, Any], other: dict[str, Any]) -> None:
    change = {"email": "GRACE@example.org", "current_password": calls.PASSWORD}

    response = calls.personal("PATCH", "account", grant["access_token"], change)

    assert calls.problem(response) == (409, "email_taken", [("email", "email_taken")])
    assert sorted(Account.objects.values_list("email", flat=True)) == [calls.EMAIL, "grace@example.org"]


def test_a_new_password_ends_every_other_session(grant: dict[str, Any], other: dict[str, Any]) -> None:
    elsewhere = calls.sign_in()
    change = {"current_password": calls.PASSWORD, "new_password": calls.OTHER_PASSWORD}

    response = calls.personal("POST", "account/password", grant["access_token"], change)

    assert (response.status_code, response.content) == (204, b"")
    assert calls.personal("GET", "account", grant["access_token"]).status_code == 200
    assert calls.personal("GET", "account", other["access_token"]).status_code == 200
    assert calls.personal("GET", "account", elsewhere["access_token"]).status_code == 401
    assert calls.refresh(elsewhere["refresh_token"]).status_code == 401
    assert Session.objects.get(pk=calls.session_id(elsewhere)).end_reason == "password_changed"
    assert calls.try_sign_in().status_code == 401
    assert calls.try_sign_in(password=calls.OTHER_PASSWORD).status_code == 200
    assert AuditEvent.objects.get(what="password_changed").details == {"sessions_ended": 1}


@pytest.mark.parametrize(
    ("current", "new", "expected"),
    [
        ("wrong", calls.OTHER_PASSWORD, (422, "wrong_password", [("current_password", "wrong_password")])),
        (calls.PASSWORD, "Qx7#fuv", (422, "invalid_input", ["password_too_short", "password_too_weak"])),
        (calls.PASSWORD, "y" * 129, (422, "invalid_input", ["password_too_long"])),
    ],
)
def test_a_password_is_not_changed(grant: dict[str, Any], current: str, new: str, expected: Any) -> None:
    elsewhere = calls.sign_in()

    response = calls.personal(
        "POST", "account/password", grant["access_token"], {"current_password": current, "new_password": new}
    )

    status, code, errors = expected
    wanted = [error if isinstance(error, tuple) else ("new_password", error) for error in errors]
    assert calls.problem(response) == (status, code, wanted)
    assert calls.personal("GET", "account", elsewhere["access_token"]).status_code == 200
    assert calls.try_sign_in().status_code == 200


def test_guessing_the_password_with_a_stolen_session_is_locked_like_signing_in(grant: dict[str, Any]) -> None:
    change = {"current_password": "wrong", "new_password": calls.OTHER_PASSWORD}

    statuses = [
        calls.personal("POST", "account/password", grant["access_token"], change).status_code for _ in range(11)
    ]

    assert statuses == [422] * 10 + [429]
    assert AuditEvent.objects.filter(what="password_refused").count() == 10


def test_closing_an_account_leaves_nothing_but_the_record_of_it(grant: dict[str, Any], other: dict[str, Any]) -> None:
    calls.try_sign_in(password="wrong", address="198.51.100.7")
    account_id = Account.objects.get(name="Ada Lovelace").id

    response = calls.personal("DELETE", "account", grant["access_token"])

    assert (response.status_code, response.content) == (204, b"")
    assert list(Account.objects.values_list("name", flat=True)) == ["Grace Hopper"]
    assert Session.objects.get().account.name == "Grace Hopper"
    assert RefreshToken.objects.get().session.account.name == "Grace Hopper"
    assert not SignInFailure.objects.filter(email_digest__gt="").exists()
    assert calls.personal("GET", "account", grant["access_token"]).status_code == 401
    assert calls.refresh(grant["refresh_token"]).status_code == 401
    assert list(AuditEvent.objects.filter(account_id=account_id).order_by("id").values_list("what", flat=True)) == [
        "registered",
        "signed_in",
        "sign_in_failed",
        "account_closed",
    ]
    calls.register()


def test_a_wrong_password_is_counted_and_recorded_where_it_came_from(grant: dict[str, Any]) -> None:
    """A stolen session is used from elsewhere: the owner's network has nothing to do with that."""
    thief = "198.51.100.99"
    change = json.dumps({"current_password": "wrong", "new_password": calls.OTHER_PASSWORD}).encode()
    headers = {"Authorization": f"Bearer {grant['access_token']}", CLIENT_ADDRESS_HEADER: thief}

    for _ in range(10):
        Client().post("/internal/v1/account/password", change, content_type="application/json", headers=headers)

    refused = AuditEvent.objects.filter(what__in=["password_refused", "sign_in_locked"])
    assert set(refused.values_list("address", flat=True)) == {thief}
    assert calls.try_sign_in().status_code == 200


@pytest.mark.parametrize("change", [{"email": "thief@example.org"}, {"name": "Thief"}])
def test_a_session_that_ends_while_it_changes_the_account_changes_nothing(
    grant: dict[str, Any], monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    """The owner changes the password on another device just before the row is locked."""
    locked = accounts._locked

    def ended_just_before(session: Session) -> Account:
        Session.objects.filter(pk=session.pk).update(ended_at=timezone.now(), end_reason="password_changed")
        return locked(session)

    monkeypatch.setattr(accounts, "_locked", ended_just_before)
    response = calls.personal("PATCH", "account", grant["access_token"], change | {"current_password": calls.PASSWORD})

    assert calls.problem(response)[:2] == (401, "invalid_token")
    assert Account.objects.values_list("name", "email").get() == ("Ada Lovelace", calls.EMAIL)


def test_signing_out_of_an_account_that_is_closed_at_that_moment_does_no_harm(
    grant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = sessions._find

    def closed_just_after(refresh_token: str) -> RefreshToken | None:
        token = find(refresh_token)
        Account.objects.all().delete()
        return token

    monkeypatch.setattr(sessions, "_find", closed_just_after)

    assert calls.signed("sessions/revoke", {"refresh_token": grant["refresh_token"]}).status_code == 200
