"""POST sessions."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from auth import passwords
from auth.hashers import Argon2idHasher
from auth.models import Account, AuditEvent, RefreshToken, Session
from internal import tokens
from tests.auth import calls

pytestmark = pytest.mark.django_db


def test_sign_in_starts_a_session_and_grants_tokens(account: dict[str, str]) -> None:
    before = timezone.now()

    grant = calls.sign_in(email="ADA.lovelace@example.ORG")

    session = Session.objects.get()
    claims = tokens.verify(grant["access_token"])
    assert grant == {
        "access_token": grant["access_token"],
        "refresh_token": grant["refresh_token"],
        "token_type": "Bearer",
        "expires_in": 600,
        "refresh_expires_in": 14 * 24 * 3600,
    }
    assert (str(claims.subject), claims.session) == (account["id"], session.id)
    assert claims.expires_at - claims.issued_at == dt.timedelta(minutes=10)
    assert (session.device, session.address, session.ended_at) == (calls.DEVICE, calls.ADDRESS, None)
    assert session.absolute_expires_at - session.created_at == dt.timedelta(days=90)
    assert before <= session.created_at <= timezone.now()
    assert list(AuditEvent.objects.filter(what="signed_in").values_list("account_id", "session_id", "address")) == [
        (session.account_id, session.id, calls.ADDRESS)
    ]


def test_a_refresh_token_has_256_bits_and_is_not_stored(account: dict[str, str]) -> None:
    grant = calls.sign_in()

    assert len(grant["refresh_token"]) == 43
    assert [len(bytes(token.token_hash)) for token in RefreshToken.objects.all()] == [32]
    assert grant["refresh_token"].encode() not in bytes(RefreshToken.objects.get().token_hash)


def test_the_account_remembers_the_last_two_sign_ins(account: dict[str, str]) -> None:
    calls.sign_in()
    first = Account.objects.get()
    calls.sign_in()
    second = Account.objects.get()

    assert (first.previous_sign_in_at, second.previous_sign_in_at) == (None, first.last_sign_in_at)
    assert first.last_sign_in_at is not None
    assert second.last_sign_in_at is not None
    assert first.last_sign_in_at < second.last_sign_in_at


def test_an_unknown_address_and_a_wrong_password_get_the_same_answer(account: dict[str, str]) -> None:
    answers = []
    for email, password in [(calls.EMAIL, "wrong"), ("nobody@example.org", calls.PASSWORD), ("no address", "x")]:
        response = calls.try_sign_in(email=email, password=password)
        document = json.loads(response.content)
        del document["request_id"]
        answers.append((response.status_code, document))

    assert answers[0][0] == 401
    assert answers[0][1]["code"] == "invalid_credentials"
    assert answers[1:] == answers[:1] * 2
    assert not Session.objects.exists()


def test_an_unknown_address_costs_one_hash_like_a_known_one(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    real = passwords.hashers.check_password

    def counted(password: str, encoded: str) -> bool:
        hashed.append(encoded[:40])
        return real(password, encoded)

    monkeypatch.setattr(passwords.hashers, "check_password", counted)
    calls.try_sign_in(password="wrong")
    calls.try_sign_in(email="nobody@example.org")

    assert hashed == ["argon2$argon2id$v=19$m=19456,t=2,p=1$" + encoded[37:] for encoded in hashed]
    assert len(hashed) == 2


def test_a_failure_is_recorded_without_what_was_typed(account: dict[str, str]) -> None:
    calls.try_sign_in(password="not-the-password")
    calls.try_sign_in(email="nobody@example.org", password="not-the-password")

    events = AuditEvent.objects.filter(what="sign_in_failed").order_by("id")
    assert [(str(event.account_id), event.address, event.details) for event in events] == [
        (account["id"], calls.ADDRESS, {}),
        ("None", calls.ADDRESS, {}),
    ]
    assert all(event.request_id for event in events)


def test_a_flood_of_hashes_is_refused_with_a_time_to_come_back(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_turns", threading.BoundedSemaphore(1))
    monkeypatch.setattr(passwords, "LONGEST_WAIT", 0.05)
    with passwords._turn(1):
        response = calls.try_sign_in()

    assert calls.problem(response) == (429, "too_many_requests", [])
    assert response["Retry-After"] == "1"
    assert calls.try_sign_in().status_code == 200


def test_an_attempt_that_was_never_tested_is_not_counted(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "LONGEST_WAIT", 0.0)
    monkeypatch.setattr(passwords, "_turns", threading.BoundedSemaphore(1))
    with passwords._turn(0):
        statuses = {calls.try_sign_in().status_code for _ in range(12)}
    monkeypatch.undo()

    assert statuses == {429}
    assert calls.try_sign_in().status_code == 200


def test_a_password_that_changes_during_the_hash_signs_nobody_in(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed_meanwhile(password: str, password_hash: str, **kwargs: object) -> bool:
        if password_hash == "another":
            return False
        Account.objects.update(password_hash="another")
        return True

    monkeypatch.setattr(passwords, "matches", changed_meanwhile)

    assert calls.problem(calls.try_sign_in())[:2] == (401, "invalid_credentials")
    assert not Session.objects.exists()


def weaker(password: str) -> str:
    """A hash with the parameters of another time."""
    hasher = Argon2idHasher()
    hasher.memory_cost, hasher.time_cost = 1024, 1
    return hasher.encode(password, hasher.salt())


def test_a_hash_of_other_parameters_is_renewed_by_a_sign_in_and_no_other_is(account: dict[str, str]) -> None:
    Account.objects.update(password_hash=weaker(calls.PASSWORD))

    assert calls.try_sign_in(password="wrong").status_code == 401
    assert Account.objects.get().password_hash.startswith("argon2$argon2id$v=19$m=1024,t=1,p=1$")
    calls.sign_in()
    renewed = Account.objects.get().password_hash
    assert renewed.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    calls.sign_in()
    assert Account.objects.get().password_hash == renewed


def test_no_time_to_renew_a_hash_loses_no_sign_in(account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    stored = weaker(calls.PASSWORD)
    Account.objects.update(password_hash=stored)

    def busy(password: str, **kwargs: object) -> str:
        raise passwords.HashingBusy

    monkeypatch.setattr(passwords, "hash_password", busy)

    assert calls.try_sign_in().status_code == 200
    assert Account.objects.get().password_hash == stored


@pytest.mark.django_db(transaction=True)
def test_parallel_sign_ins_that_renew_a_hash_all_succeed_and_a_change_of_password_with_them() -> None:
    calls.register()
    token = calls.sign_in()["access_token"]
    Account.objects.update(password_hash=weaker(calls.PASSWORD))
    statuses: list[int] = []
    ready = threading.Barrier(4)

    def sign_in() -> None:
        try:
            ready.wait()
            statuses.append(calls.try_sign_in().status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=sign_in) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * 4
    assert calls.personal("GET", "account", token).status_code == 200


def test_a_change_of_password_survives_a_renewal_of_the_hash_at_that_moment(
    grant: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = passwords.hash_password

    def renewed_meanwhile(password: str, **kwargs: float) -> str:
        monkeypatch.setattr(passwords, "hash_password", real)
        Account.objects.update(password_hash=real(calls.PASSWORD))
        return real(password, **kwargs)

    monkeypatch.setattr(passwords, "hash_password", renewed_meanwhile)
    change = {"current_password": calls.PASSWORD, "new_password": calls.OTHER_PASSWORD}

    assert calls.personal("POST", "account/password", grant["access_token"], change).status_code == 204
    assert calls.try_sign_in(password=calls.OTHER_PASSWORD).status_code == 200


def statements_of(*, email: str, password: str) -> list[str]:
    """The SQL of one failed attempt from a new address, without its values."""
    with CaptureQueriesContext(connection) as captured:
        assert calls.try_sign_in(email=email, password=password, address="203.0.113.77").status_code == 401
    return [re.sub(r"'[^']*'|\"s\d+_x\d+\"|\b\d[\d.]*|NULL", "?", query["sql"]) for query in captured]


def test_an_unknown_address_costs_the_same_statements_as_a_wrong_password(grant: dict[str, str]) -> None:
    wrong = statements_of(email=calls.EMAIL, password="wrong")
    nobody = statements_of(email="nobody.lovelace@example.org", password="wrong")

    assert len(wrong) >= 5
    assert [sql.split()[0:3] for sql in nobody] == [sql.split()[0:3] for sql in wrong]


def test_whoever_hashes_or_waits_for_it_keeps_no_connection_from_others(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[bool] = []
    monkeypatch.setattr(passwords, "_release_connections", lambda: released.append(True))
    monkeypatch.setattr(passwords, "_turns", threading.BoundedSemaphore(1))
    monkeypatch.setattr(passwords, "LONGEST_WAIT", 0.01)

    calls.sign_in()
    assert released == [True]
    with passwords._turn(1):
        released.clear()
        assert calls.try_sign_in().status_code == 429
    assert released == [True]
