"""The console's pages about accounts, sessions, the audit record, signing keys and failed sign-ins."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from auth import audit, emails, signing_keys
from auth.models import Account, AuditEvent, Session, SignInFailure, SigningKey

pytestmark = pytest.mark.django_db

PAGES = ["account", "session", "auditevent", "signingkey", "signinfailure"]


@pytest.fixture
def account() -> Account:
    return Account.objects.create(name="Ada Lovelace", email="Ada@example.org", password_hash="argon2$hidden")


@pytest.fixture
def session(account: Account) -> Session:
    now = timezone.now()
    return Session.objects.create(
        account=account,
        device="Firefox on Linux",
        address="192.0.2.10",
        created_at=now,
        last_used_at=now,
        rotated_at=now,
        expires_at=now + dt.timedelta(days=1),
        absolute_expires_at=now + dt.timedelta(days=1),
    )


@pytest.fixture
def failure() -> SignInFailure:
    now = timezone.now()
    return SignInFailure.objects.create(
        email_digest=emails.email_digest("ada@example.org"),
        network="192.0.2.10",
        failures=12,
        window_started_at=now,
        locked_until=now + dt.timedelta(minutes=2),
    )


@pytest.fixture
def records(account: Account, session: Session, failure: SignInFailure) -> dict[str, Any]:
    """One object for every page."""
    audit.record(audit.What.SIGNED_IN, account_id=account.id, session_id=session.id)
    return {
        "account": account,
        "session": session,
        "auditevent": AuditEvent.objects.get(what="signed_in"),
        "signingkey": signing_keys.ensure_active(),
        "signinfailure": failure,
    }


@pytest.fixture
def chief(client: Client) -> Client:
    """Staff who may do everything that anybody may."""
    client.force_login(User.objects.create_superuser("chief"))
    return client


def staff_with(*permissions: str) -> Client:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, page: str, action: str, *chosen: Any) -> Any:
    return client.post(
        f"/credentials/{page}/", {"action": action, "_selected_action": [str(item.pk) for item in chosen]}
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_page_lists_searches_and_shows(chief: Client, records: dict[str, Any], page: str) -> None:
    for address in (
        f"/credentials/{page}/",
        f"/credentials/{page}/?q=ada",
        f"/credentials/{page}/{records[page].pk}/change/",
    ):
        assert chief.get(address).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_added_or_changed_by_hand_even_by_the_chief(
    chief: Client, records: dict[str, Any], page: str
) -> None:
    assert chief.get(f"/credentials/{page}/add/").status_code == 403
    assert chief.post(f"/credentials/{page}/{records[page].pk}/change/", {"name": "x"}).status_code == 403


@pytest.mark.parametrize("page", ["account", "session", "auditevent", "signingkey"])
def test_only_counters_are_deleted(chief: Client, records: dict[str, Any], page: str) -> None:
    assert chief.post(f"/credentials/{page}/{records[page].pk}/delete/", {"post": "yes"}).status_code == 403
    assert type(records[page]).objects.filter(pk=records[page].pk).exists()


@pytest.mark.parametrize("page", PAGES)
def test_nobody_sees_a_page_without_signing_in_or_without_permission(records: dict[str, Any], page: str) -> None:
    assert Client().get(f"/credentials/{page}/").status_code == 302
    assert staff_with().get(f"/credentials/{page}/").status_code == 403


def test_no_page_shows_a_password_hash_or_a_private_half(chief: Client, records: dict[str, Any]) -> None:
    key = SigningKey.objects.get()
    shown = b"".join(
        chief.get(address).content
        for page in PAGES
        for address in (f"/credentials/{page}/", f"/credentials/{page}/{records[page].pk}/change/")
    )

    assert b"Firefox on Linux" in shown
    assert key.public_jwk["x"].encode() in shown
    assert b"argon2" not in shown
    assert bytes(key.private_half).hex().encode() not in shown
    assert b"private" not in shown.lower()


def test_staff_ends_sessions(chief: Client, session: Session) -> None:
    assert act(chief, "session", "end_sessions", session).status_code == 302

    session.refresh_from_db()
    assert session.end_reason == "ended_by_staff"
    assert AuditEvent.objects.get(what="session_ended").details == {
        "reason": "ended_by_staff",
        "staff": str(User.objects.get(username="chief").pk),
    }


def test_staff_signs_a_person_out_everywhere(chief: Client, session: Session) -> None:
    act(chief, "account", "end_sessions", session.account)

    session.refresh_from_db()
    assert session.end_reason == "ended_by_staff"


def test_staff_lets_a_person_try_again(chief: Client, account: Account, failure: SignInFailure) -> None:
    act(chief, "account", "unlock", account)

    assert not SignInFailure.objects.exists()
    assert AuditEvent.objects.filter(what="sign_in_unlocked").count() == 1


@pytest.mark.parametrize("way", ["one", "selected"])
def test_clearing_a_counter_is_recorded(chief: Client, failure: SignInFailure, way: str) -> None:
    if way == "one":
        chief.post(f"/credentials/signinfailure/{failure.pk}/delete/", {"post": "yes"})
    else:
        chosen = {"action": "delete_selected", "_selected_action": [str(failure.pk)], "post": "yes"}
        chief.post("/credentials/signinfailure/", chosen)

    assert not SignInFailure.objects.exists()
    assert AuditEvent.objects.filter(what="sign_in_unlocked").count() == 1


def test_staff_who_may_only_look_have_no_actions(session: Session, failure: SignInFailure) -> None:
    onlooker = staff_with("view_session", "view_account", "view_signinfailure")

    act(onlooker, "session", "end_sessions", session)
    act(onlooker, "account", "unlock", session.account)

    session.refresh_from_db()
    assert session.ended_at is None
    assert SignInFailure.objects.count() == 1


def test_a_counter_is_found_by_the_email_address_that_it_does_not_keep(chief: Client, failure: SignInFailure) -> None:
    found = chief.get("/credentials/signinfailure/?q=ADA@example.org")
    missed = chief.get("/credentials/signinfailure/?q=eve@example.org")

    assert b"1 sign in failure" in found.content
    assert b"0 sign in failures" in missed.content


@pytest.mark.parametrize(
    ("page", "query", "count"),
    [
        ("session", "state=alive", 1),
        ("session", "state=over", 0),
        ("signinfailure", "locked=yes", 1),
        ("signinfailure", "locked=no", 0),
    ],
)
def test_lists_are_filtered(chief: Client, records: dict[str, Any], page: str, query: str, count: int) -> None:
    answer = chief.get(f"/credentials/{page}/?{query}")

    assert answer.context["cl"].result_count == count
