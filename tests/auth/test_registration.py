"""POST accounts."""

from __future__ import annotations

import json
import threading

import pytest
from django.db import connection

from auth.models import Account, AuditEvent
from tests.auth import calls

pytestmark = pytest.mark.django_db


def test_registration_answers_with_the_account_and_keeps_no_password() -> None:
    response = calls.signed("accounts", {"name": " Ada ", "email": calls.EMAIL, "password": calls.PASSWORD, "role": 1})

    stored = Account.objects.get()
    assert response.status_code == 201
    assert json.loads(response.content) == {
        "id": str(stored.id),
        "name": "Ada",
        "email": calls.EMAIL,
        "created_at": stored.created_at.isoformat().replace("+00:00", "Z"),
        "last_sign_in_at": None,
        "previous_sign_in_at": None,
    }
    assert response["Cache-Control"] == "no-store"
    assert stored.email_key == "ada.lovelace@example.org"
    assert stored.password_hash.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert list(AuditEvent.objects.values_list("what", "account_id", "details")) == [("registered", stored.id, {})]


@pytest.mark.parametrize(
    "spelling",
    [
        "ada.lovelace@example.org",
        "ADA.LOVELACE@EXAMPLE.ORG",
        " Ada.Lovelace@example.org ",
        "ada.lovelace@\N{FULLWIDTH LATIN SMALL LETTER E}xample.org",
    ],
)
def test_an_email_address_is_taken_in_every_spelling(account: dict[str, str], spelling: str) -> None:
    response = calls.signed("accounts", {"name": "Eve", "email": spelling, "password": calls.OTHER_PASSWORD})

    assert calls.problem(response) == (409, "email_taken", [("email", "email_taken")])
    assert Account.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_parallel_registrations_of_one_address_make_one_account() -> None:
    statuses: list[int] = []

    def register(email: str) -> None:
        try:
            payload = {"name": "Ada", "email": email, "password": calls.PASSWORD}
            statuses.append(calls.signed("accounts", payload).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=register, args=[email]) for email in ("a@b.example", "A@b.example") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [201, 409, 409, 409]
    assert Account.objects.count() == 1


@pytest.mark.parametrize(
    ("password", "codes"),
    [
        ("Qx7#fuv", ["password_too_short", "password_too_weak"]),
        ("x" * 73, ["password_too_long"]),
        ("password", ["password_too_common", "password_too_weak"]),
        ("73950184629", ["password_entirely_numeric"]),
        ("ada.lovelace@example", ["password_too_similar"]),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", ["password_too_weak"]),
    ],
)
def test_a_password_that_the_rules_refuse_is_refused_at_its_field(password: str, codes: list[str]) -> None:
    response = calls.signed("accounts", {"name": "Ada Lovelace", "email": calls.EMAIL, "password": password})

    assert calls.problem(response) == (422, "invalid_input", [("password", code) for code in codes])
    assert not Account.objects.exists()


def test_a_password_of_72_characters_is_accepted_and_works_in_its_other_unicode_form() -> None:
    composed = "Zürich-Straßenbahn-é-" + "qwmxnzbv" * 6 + "xyz"
    assert len(composed) == 72
    calls.register(password=composed)

    assert calls.try_sign_in(password=composed.replace("ü", "u\u0308").replace("é", "e\u0301")).status_code == 200


def test_nobody_registers_without_a_signature() -> None:
    payload = {"name": "Ada", "email": calls.EMAIL, "password": calls.PASSWORD}

    assert calls.problem(calls.personal("POST", "accounts", None, payload))[:2] == (401, "invalid_signature")
    assert not Account.objects.exists()
