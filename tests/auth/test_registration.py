"""POST accounts."""

from __future__ import annotations

import json
import threading
import unicodedata
from types import SimpleNamespace

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from auth import passwords
from auth.models import Account, AuditEvent
from tests.auth import calls

pytestmark = pytest.mark.django_db

ADA = SimpleNamespace(name="Ada Lovelace", email="ada@example.org")
PHRASE = "kV9wqz-TjLpxRb mGhYdNc_fSuEo,tZaPlW!" * 4


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
        ("x" * 129, ["password_too_long"]),
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


@pytest.mark.parametrize("length", [*range(9, 73), 100, 127, 128])
def test_every_length_up_to_128_is_accepted(length: int) -> None:
    passwords.validate(PHRASE[:length], account=ADA)


def test_129_characters_are_too_many() -> None:
    with pytest.raises(ValidationError):
        passwords.validate(PHRASE[:129], account=ADA)


@pytest.mark.parametrize("letter", ["\N{LATIN SMALL LETTER O WITH CIRCUMFLEX AND DOT BELOW}", "\N{SQUARE KG}"])
def test_72_characters_are_72_in_every_unicode_form(letter: str) -> None:
    typed = "".join(
        part + letter * 3 for part in ("kv9wqz", "tjlpxr", "bmghyd", "ncfsue", "otzapl", "wquvex", "yxcbnm", "qa")
    )
    assert len(typed) <= 72

    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        passwords.validate(unicodedata.normalize(form, typed), account=ADA)


def test_a_password_is_the_same_in_every_unicode_form_at_registration_sign_in_and_change() -> None:
    first, second = "Zürich-Straßenbahn-ﬁre-41", "Gürtel-Übergang-ﬂow-77"
    forms = [lambda text, form=form: unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    calls.register(password=forms[1](first))
    tokens = [calls.sign_in(password=form(first))["access_token"] for form in forms]

    change = {"current_password": forms[3](first), "new_password": forms[1](second)}
    assert calls.personal("POST", "account/password", tokens[0], change).status_code == 204
    assert [calls.try_sign_in(password=form(second)).status_code for form in forms] == [200] * 4


def test_a_taken_address_costs_the_same_statements_and_leaves_an_event(account: dict[str, str]) -> None:
    counted = []
    for email in ("new@example.org", calls.EMAIL):
        with CaptureQueriesContext(connection) as captured:
            calls.signed("accounts", {"name": "Eve", "email": email, "password": calls.OTHER_PASSWORD})
        counted.append([query["sql"].split()[0:3] for query in captured if "SAVEPOINT" not in query["sql"]])

    assert counted[0] == counted[1]
    event = AuditEvent.objects.get(what="registration_refused")
    assert (event.account_id, event.details) == (None, {})


def test_nobody_registers_without_a_signature() -> None:
    payload = {"name": "Ada", "email": calls.EMAIL, "password": calls.PASSWORD}

    assert calls.problem(calls.personal("POST", "accounts", None, payload))[:2] == (401, "invalid_signature")
    assert not Account.objects.exists()
