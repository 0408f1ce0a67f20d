"""Whatever is sent, the answer is a 4xx that says what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auth.models import Account
from internal.keys import NamedKey
from tests.auth import calls

pytestmark = pytest.mark.django_db

REGISTRATION = {"name": "Ada", "email": "ada@example.org", "password": calls.PASSWORD}
SIGN_IN = {"email": calls.EMAIL, "password": calls.PASSWORD, **calls.ORIGIN}
REFRESH = {"refresh_token": "A" * 43, **calls.ORIGIN}

WRONG_TYPES: list[Any] = [None, 1, 1.5, True, [], {}, ["x"], {"x": 1}]
LONE_SURROGATE = "\ud800"


@pytest.mark.parametrize(
    ("path", "good"), [("accounts", REGISTRATION), ("sessions", SIGN_IN), ("sessions/refresh", REFRESH)]
)
@pytest.mark.parametrize("value", [*WRONG_TYPES, "nul\x00byte", f"half{LONE_SURROGATE}pair", "\x1b[31m"])
def test_a_field_of_the_wrong_kind_is_named(path: str, good: dict[str, Any], value: Any) -> None:
    for field in good:
        response = calls.signed(path, good | {field: value})
        if value == "\x1b[31m" and field in {"password", "refresh_token", "email"}:
            assert 400 <= response.status_code < 500 or response.status_code == 201
            continue
        status, code, errors = calls.problem(response)
        assert (status, code) == (422, "invalid_input")
        assert {name for name, _ in errors} == {field}


@pytest.mark.parametrize(
    ("path", "good"), [("accounts", REGISTRATION), ("sessions", SIGN_IN), ("sessions/refresh", REFRESH)]
)
def test_every_missing_field_is_named(path: str, good: dict[str, Any]) -> None:
    status, code, errors = calls.problem(calls.signed(path, {}))

    assert (status, code, sorted(errors)) == (422, "invalid_input", sorted((field, "required") for field in good))


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("name", "", "blank"),
        ("name", "   ", "blank"),
        ("name", "x" * 101, "max_length"),
        ("name", "bell\x07", "control_characters"),
        ("email", "", "blank"),
        ("email", "ada", "invalid"),
        ("email", "ada@", "invalid"),
        ("email", "ada@example", "invalid"),
        ("email", "ada@example.org, eve@example.org", "invalid"),
        ("email", "a@" + "x" * 250 + ".org", "max_length"),
        ("email", "a\r\nb@example.org", "invalid"),
        ("password", "", "blank"),
        ("password", "x" * 1025, "max_length"),
    ],
)
def test_registration_says_what_is_wrong_with_a_field(field: str, value: str, code: str) -> None:
    status, problem_code, errors = calls.problem(calls.signed("accounts", REGISTRATION | {field: value}))

    assert (status, problem_code) == (422, "invalid_input")
    assert (field, code) in errors
    assert not Account.objects.exists()


def test_a_name_of_100_characters_of_any_script_is_accepted() -> None:
    assert calls.register(name="名" * 100)["name"] == "名" * 100


@pytest.mark.parametrize("address", ["localhost", "1.2.3", "1.2.3.4.5", "::g", "1.2.3.4/8", "%eth0"])
def test_an_address_that_is_none_is_refused(account: dict[str, Any], address: str) -> None:
    assert calls.problem(calls.signed("sessions", SIGN_IN | {"address": address})) == (
        422,
        "invalid_input",
        [("address", "invalid")],
    )


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", "application/json", (422, "invalid_input")),
        (b"{", "application/json", (400, "malformed_request")),
        (b"\xff\xfe\x00", "application/json", (400, "malformed_request")),
        (b'{"name": NaN}', "application/json", (400, "malformed_request")),
        (b"[" * 30_000, "application/json", (400, "malformed_request")),
        (b'{"name": ' + b"9" * 5000 + b"}", "application/json", (400, "malformed_request")),
        (b"[]", "application/json", (400, "malformed_request")),
        (b"null", "application/json", (400, "malformed_request")),
        (b'"text"', "application/json", (400, "malformed_request")),
        (b"name=Ada", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
        (b"<name/>", "text/xml", (415, "unsupported_media_type")),
        (b"{}", "application/json; charset=hex", (422, "invalid_input")),
        (b"{}", "application/json; charset=nonsense", (422, "invalid_input")),
        (b'{"name": "' + b"x" * 65_536 + b'"}', "application/json", (413, "payload_too_large")),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(body: bytes, content_type: str, expected: tuple[int, str]) -> None:
    for path in ("accounts", "sessions", "sessions/refresh", "sessions/revoke"):
        response = calls.signed_bytes(path, body, content_type=content_type)

        assert calls.problem(response)[:2] == expected


def test_a_call_that_another_key_signed_is_refused() -> None:
    response = calls.signed("accounts", REGISTRATION, keys=(NamedKey("other", b"k" * 32),))

    assert calls.problem(response)[:2] == (401, "invalid_signature")
    assert not Account.objects.exists()


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "eyJhbGciOiJub25lIn0.e30.",
        "é",
        "." * 5000,
        "eyJhbGciOiJFZDI1NTE5Iiwia2lkIjoiXHUwMDAwIn0.e30.AA",
    ],
)
def test_a_token_that_is_none_is_refused(account: dict[str, Any], token: str) -> None:
    assert calls.problem(calls.personal("GET", "account", token.encode().decode("latin1")))[:2] == (
        401,
        "invalid_token",
    )


@pytest.mark.parametrize("payload", [{"name": None}, {"name": 5}, {"email": []}, {"email": "x"}, {"name": ""}])
def test_a_change_with_a_bad_value_is_refused(grant: dict[str, Any], payload: dict[str, Any]) -> None:
    status, code, errors = calls.problem(calls.personal("PATCH", "account", grant["access_token"], payload))

    assert (status, code) == (422, "invalid_input")
    assert [field for field, _ in errors] == list(payload)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "accounts"), ("PUT", "account"), ("POST", "jwks"), ("DELETE", "status")]
)
def test_a_method_that_a_call_does_not_have_is_refused(grant: dict[str, Any], method: str, path: str) -> None:
    response = (
        calls.signed(path, {}, method=method)
        if path == "accounts"
        else calls.personal(method, path, grant["access_token"])
    )

    assert calls.problem(response)[:2] == (405, "method_not_allowed")


def test_an_unknown_path_is_not_found() -> None:
    response = calls.personal("GET", "nothing", None)

    assert response.status_code == 404
    assert json.loads(response.content)["code"] == "not_found"


@pytest.mark.parametrize(
    "domain", ["\ua7dc" * 62 + ".com", "ä" * 62 + ".org"], ids=["letters of Unicode 16", "umlauts"]
)
def test_a_domain_that_has_no_ascii_form_is_refused(domain: str) -> None:
    response = calls.signed("accounts", {"name": "Ada", "email": f"a@{domain}", "password": calls.PASSWORD})

    assert calls.problem(response) == (422, "invalid_input", [("email", "invalid")])
