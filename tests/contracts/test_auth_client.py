"""AuthClient against the real auth role: every method, and every rejection that it documents."""

from __future__ import annotations

import dataclasses
import datetime as dt
import secrets
from collections.abc import Callable
from uuid import uuid4

import pytest

from internal import tokens
from internal.clients import AuthClient
from internal.problems import FieldError, Problem
from tests.contracts.conftest import Member, new_address, rejection
from tests.running import inside

PASSWORD = "walnut tractor velvet 12"


def new_email() -> str:
    return f"bo-{secrets.token_hex(8)}@example.org"


def sign_in(auth: AuthClient, member: Member, *, password: str | None = None, device: str = "Tests") -> str:
    """One more sign-in; returns its access token."""
    grant = auth.sign_in(
        email=member.account.email, password=password or member.password, device=device, address=member.address
    )
    return grant.access_token


# register


def test_registering_makes_the_account_that_was_asked_for(auth: AuthClient) -> None:
    email = new_email()

    account = auth.register(name="Bo Ångström", email=email, password=PASSWORD)

    age = dt.datetime.now(dt.UTC) - account.created_at
    assert dt.timedelta(seconds=-1) < age < dt.timedelta(seconds=10)
    assert (account.name, account.email) == ("Bo Ångström", email)
    assert (account.last_sign_in_at, account.previous_sign_in_at) == (None, None)


@pytest.mark.parametrize("spelling", [str, str.upper, str.title])
def test_an_email_address_is_taken_in_any_case(
    auth: AuthClient, member: Member, spelling: Callable[[str], str]
) -> None:
    problem = rejection(
        lambda: auth.register(name="Bo", email=spelling(member.account.email), password=PASSWORD), "email_taken"
    )

    assert [(fault.field, fault.code) for fault in problem.errors] == [("email", "email_taken")]


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"name": ""}, "name", "blank"),
        ({"name": "x" * 101}, "name", "max_length"),
        ({"name": "Bo\x00"}, "name", "null_characters_not_allowed"),
        ({"name": "Bo\x1b[31m"}, "name", "control_characters"),
        ({"email": "nowhere"}, "email", "invalid"),
        ({"email": f"{'x' * 250}@example.org"}, "email", "max_length"),
        ({"password": "short 1"}, "password", "password_too_short"),
        ({"password": f"{'walnut tractor ' * 9}"}, "password", "password_too_long"),
        ({"password": "password123"}, "password", "password_too_common"),
        ({"password": "73019482645"}, "password", "password_entirely_numeric"),
        ({"name": "Bartholomew Quill", "password": "bartholomew quill"}, "password", "password_too_similar"),
    ],
)
def test_a_registration_with_a_fault_names_the_field(
    auth: AuthClient, changes: dict[str, str], field: str, code: str
) -> None:
    problem = rejection(
        lambda: auth.register(**{"name": "Bo", "email": new_email(), "password": PASSWORD} | changes), "invalid_input"
    )

    assert {fault.field for fault in problem.errors} == {field}
    assert code in {fault.code for fault in problem.errors}
    assert all(fault.message for fault in problem.errors)


# sign in


def test_a_sign_in_grants_tokens_that_any_role_can_verify(auth: AuthClient, member: Member) -> None:
    claims = tokens.verify(member.token)

    assert claims.subject == member.account.id
    assert claims.expires_at - claims.issued_at == dt.timedelta(minutes=10)
    assert member.grant.token_type == "Bearer"
    assert member.grant.expires_in == 600
    assert member.grant.refresh_expires_in == 14 * 24 * 3600
    assert len(member.grant.refresh_token) >= 43  # 256 bits


def test_a_wrong_password_and_an_unknown_address_are_refused_alike(auth: AuthClient, member: Member) -> None:
    def attempt(email: str) -> Problem:
        return rejection(
            lambda: auth.sign_in(email=email, password="not the one", device="", address=new_address()),
            "invalid_credentials",
        )

    assert attempt(member.account.email) == attempt(new_email())


def test_too_many_wrong_passwords_lock_the_account_for_that_network_only(auth: AuthClient, member: Member) -> None:
    address = new_address()

    def attempt(password: str) -> None:
        auth.sign_in(email=member.account.email, password=password, device="", address=address)

    for _ in range(10):
        rejection(lambda: attempt("not the one"), "invalid_credentials")
    problem = rejection(lambda: attempt(member.password), "account_locked")

    assert problem.retry_after is not None
    assert 1 <= problem.retry_after <= 30
    assert sign_in(auth, member)


# refresh and sign out


def test_a_refresh_token_is_exchanged_for_new_tokens_of_the_same_session(auth: AuthClient, member: Member) -> None:
    grant = auth.refresh(refresh_token=member.grant.refresh_token, device="Tests", address=member.address)

    assert grant.refresh_token != member.grant.refresh_token
    assert grant.access_token != member.token
    assert tokens.verify(grant.access_token).session == member.session_id
    assert auth.account(grant.access_token).id == member.account.id


@pytest.mark.parametrize("token", ["", "nonsense", "A" * 43, "x" * 300, "Ω" * 43])
def test_a_refresh_token_that_nobody_was_given_is_refused(auth: AuthClient, token: str) -> None:
    code = "invalid_refresh_token" if 0 < len(token) <= 256 else "invalid_input"

    rejection(lambda: auth.refresh(refresh_token=token, device="", address=""), code)


def test_the_reuse_of_an_old_refresh_token_ends_the_whole_session(auth: AuthClient, member: Member) -> None:
    first = member.grant.refresh_token
    second = auth.refresh(refresh_token=first, device="", address="").refresh_token
    third = auth.refresh(refresh_token=second, device="", address="")

    rejection(lambda: auth.refresh(refresh_token=first, device="", address=""), "invalid_refresh_token")

    rejection(lambda: auth.refresh(refresh_token=third.refresh_token, device="", address=""), "invalid_refresh_token")
    rejection(lambda: auth.account(third.access_token), "invalid_token")


def test_signing_out_ends_the_session_and_is_never_an_error(auth: AuthClient, member: Member) -> None:
    auth.sign_out(refresh_token=member.grant.refresh_token)
    auth.sign_out(refresh_token=member.grant.refresh_token)
    auth.sign_out(refresh_token="A" * 43)

    rejection(lambda: auth.account(member.token), "invalid_token")
    rejection(
        lambda: auth.refresh(refresh_token=member.grant.refresh_token, device="", address=""), "invalid_refresh_token"
    )


def test_a_session_that_ran_out_is_over_though_its_access_token_is_not(auth: AuthClient, member: Member) -> None:
    inside(
        "auth",
        "from auth.models import Session\n"
        "from django.utils import timezone\n"
        f"Session.objects.filter(pk='{member.session_id}').update(expires_at=timezone.now())",
    )

    rejection(lambda: auth.account(member.token), "invalid_token")
    rejection(lambda: auth.sessions(member.token), "invalid_token")
    rejection(
        lambda: auth.refresh(refresh_token=member.grant.refresh_token, device="", address=""), "invalid_refresh_token"
    )
    assert tokens.verify(member.token).subject == member.account.id


# account


def test_the_account_tells_this_sign_in_and_the_one_before(auth: AuthClient, member: Member) -> None:
    first = auth.account(member.token)
    second = auth.account(sign_in(auth, member))

    assert first.last_sign_in_at is not None
    assert first.previous_sign_in_at is None
    assert second.last_sign_in_at is not None
    assert second.last_sign_in_at > first.last_sign_in_at
    assert second == dataclasses.replace(
        first, previous_sign_in_at=first.last_sign_in_at, last_sign_in_at=second.last_sign_in_at
    )


def test_a_name_is_changed_and_nothing_else(auth: AuthClient, member: Member) -> None:
    before = auth.account(member.token)

    changed = auth.update_account(member.token, name="Anna Sandström")

    assert changed == dataclasses.replace(before, name="Anna Sandström")
    assert auth.account(member.token) == changed


def test_an_email_address_is_changed_with_the_current_password(auth: AuthClient, member: Member) -> None:
    email = new_email()

    changed = auth.update_account(member.token, email=email, current_password=member.password)

    assert changed.email == email
    assert auth.sign_in(email=email, password=member.password, device="", address=new_address())
    rejection(lambda: sign_in(auth, member), "invalid_credentials")


def test_an_email_address_is_not_changed_without_the_password_or_with_a_wrong_one(
    auth: AuthClient, member: Member
) -> None:
    missing = rejection(lambda: auth.update_account(member.token, email=new_email()), "invalid_input")
    wrong = rejection(
        lambda: auth.update_account(member.token, email=new_email(), current_password="not the one"), "wrong_password"
    )

    assert [(fault.field, fault.code) for fault in missing.errors] == [("current_password", "required")]
    assert [(fault.field, fault.code) for fault in wrong.errors] == [("current_password", "wrong_password")]
    assert auth.account(member.token).email == member.account.email


def test_an_email_address_of_somebody_else_is_taken(auth: AuthClient, member: Member, stranger: Member) -> None:
    rejection(
        lambda: auth.update_account(
            member.token, email=stranger.account.email.upper(), current_password=member.password
        ),
        "email_taken",
    )

    assert auth.account(member.token).email == member.account.email


def test_a_faulty_change_names_the_field(auth: AuthClient, member: Member) -> None:
    problem = rejection(lambda: auth.update_account(member.token, name="x" * 101), "invalid_input")

    assert [(fault.field, fault.code) for fault in problem.errors] == [("name", "max_length")]


# password


def test_changing_the_password_ends_every_other_session(auth: AuthClient, member: Member) -> None:
    other = sign_in(auth, member)

    auth.change_password(member.token, current_password=member.password, new_password=PASSWORD)

    rejection(lambda: auth.account(other), "invalid_token")
    assert [session.current for session in auth.sessions(member.token)] == [True]
    rejection(lambda: sign_in(auth, member), "invalid_credentials")
    assert sign_in(auth, member, password=PASSWORD)


@pytest.mark.parametrize(
    ("current", "new", "code", "fault"),
    [
        ("not the one", PASSWORD, "wrong_password", ("current_password", "wrong_password")),
        (None, "short 1", "invalid_input", ("new_password", "password_too_short")),
        (None, "", "invalid_input", ("new_password", "blank")),
    ],
)
def test_a_password_is_not_changed_wrongly(
    auth: AuthClient, member: Member, current: str | None, new: str, code: str, fault: tuple[str, str]
) -> None:
    problem = rejection(
        lambda: auth.change_password(member.token, current_password=current or member.password, new_password=new), code
    )

    assert fault in {(error.field, error.code) for error in problem.errors}
    assert sign_in(auth, member)


# sessions


def test_sessions_tell_where_a_person_is_signed_in(auth: AuthClient, member: Member) -> None:
    phone = auth.sign_in(
        email=member.account.email, password=member.password, device="A telephone", address="2001:db8::7"
    )

    listed = {session.current: session for session in auth.sessions(phone.access_token)}

    assert (listed[True].device, listed[True].address) == ("A telephone", "2001:db8::7")
    assert (listed[False].device, listed[False].address) == ("Tests", member.address)
    assert listed[False].id == member.session_id
    assert listed[True].created_at == listed[True].last_used_at
    assert listed[True].expires_at - listed[True].created_at == dt.timedelta(days=14)


def test_a_session_is_ended_from_another_one(auth: AuthClient, member: Member) -> None:
    other = sign_in(auth, member)

    auth.end_session(member.token, tokens.verify(other).session)

    rejection(lambda: auth.account(other), "invalid_token")
    assert auth.account(member.token).id == member.account.id


def test_nobody_ends_the_session_of_somebody_else(auth: AuthClient, member: Member, stranger: Member) -> None:
    theirs = rejection(lambda: auth.end_session(stranger.token, member.session_id), "not_found")
    nobodys = rejection(lambda: auth.end_session(stranger.token, uuid4()), "not_found")

    assert theirs == nobodys
    assert auth.account(member.token).id == member.account.id


# closing


def test_a_closed_account_is_gone_and_its_address_free(auth: AuthClient, member: Member) -> None:
    auth.close_account(member.token)

    rejection(lambda: auth.account(member.token), "invalid_token")
    rejection(lambda: sign_in(auth, member), "invalid_credentials")
    again = auth.register(name="Anna Berg", email=member.account.email, password=PASSWORD)
    assert again.id != member.account.id


# the key set


def test_the_key_set_has_public_keys_only(auth: AuthClient) -> None:
    document = auth.transport.call("jwks", "GET", "/internal/v1/jwks").json

    assert document["keys"]
    assert all("d" not in key and key["kty"] == "OKP" and key["crv"] == "Ed25519" for key in document["keys"])


def test_the_status_says_that_the_database_is_up(auth: AuthClient) -> None:
    status = auth.transport.call("status", "GET", "/internal/v1/status").json

    assert (status["service"], status["database"]) == ("auth", "up")


def test_a_rejection_carries_the_whole_problem(auth: AuthClient, member: Member) -> None:
    problem = rejection(lambda: auth.register(name="Bo", email=member.account.email, password=PASSWORD), "email_taken")

    message = "There is already an account with this email address."
    assert problem == Problem("email_taken", message, (FieldError("email", "email_taken", message),))


# changes


def test_a_change_is_told_once_to_whoever_asks_from_the_place_of_the_answer_before(
    auth: AuthClient, member: Member, stranger: Member
) -> None:
    first = auth.changes(None)
    assert (first.all, first.accounts) == (True, ())
    auth.update_account(member.token, name="Bo")
    second = auth.changes(first.position)
    auth.end_session(stranger.token, stranger.session_id)
    third = auth.changes(second.position)

    assert (second.all, second.accounts) == (False, (member.account.id,))
    assert (third.all, third.accounts) == (False, (stranger.account.id,))
    assert auth.changes(third.position).accounts == ()
    assert len({first.epoch, second.epoch, third.epoch}) == 1
    assert set(auth.changes(first.position).accounts) == {member.account.id, stranger.account.id}


def test_a_position_of_something_else_is_refused(auth: AuthClient) -> None:
    problem = rejection(lambda: auth.changes("rubbish & more"), "invalid_input")

    assert [(fault.field, fault.code) for fault in problem.errors] == [("after", "invalid")]
