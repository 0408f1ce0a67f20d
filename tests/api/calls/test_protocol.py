"""What holds for every call: tokens, media types, limits, headers, and problem documents for everything else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from django.test import Client
from joserfc.jwk import OKPKey, RSAKey

from internal.problems import CATALOGUE
from tests.api.calls.conftest import IMAGE_ID, SESSION_ID, Caller

PERSONAL = [
    ("GET", "/profile"),
    ("PATCH", "/profile"),
    ("DELETE", "/profile"),
    ("PUT", "/profile/image"),
    ("DELETE", "/profile/image"),
    ("POST", "/password"),
    ("GET", "/sessions"),
    ("DELETE", f"/sessions/{SESSION_ID}"),
    ("GET", "/images"),
    ("POST", "/images"),
    ("GET", f"/images/{IMAGE_ID}"),
    ("DELETE", f"/images/{IMAGE_ID}"),
]
WITH_JSON = [
    ("POST", "/register"),
    ("POST", "/login"),
    ("POST", "/refresh"),
    ("POST", "/logout"),
    ("PATCH", "/profile"),
    ("PUT", "/profile/image"),
    ("POST", "/password"),
]
ALLOWED = {
    "/register": "POST, OPTIONS",
    "/login": "POST, OPTIONS",
    "/refresh": "POST, OPTIONS",
    "/logout": "POST, OPTIONS",
    "/profile": "GET, PATCH, DELETE, HEAD, OPTIONS",
    "/profile/image": "PUT, DELETE, OPTIONS",
    "/password": "POST, OPTIONS",
    "/sessions": "GET, HEAD, OPTIONS",
    f"/sessions/{SESSION_ID}": "DELETE, OPTIONS",
    "/images": "GET, POST, HEAD, OPTIONS",
    f"/images/{IMAGE_ID}": "GET, DELETE, HEAD, OPTIONS",
}


def untouched(*services: Mock) -> bool:
    return all(service.mock_calls == [] for service in services)


# --- tokens ---


@pytest.mark.parametrize(("method", "path"), PERSONAL)
def test_nobody_gets_in_without_a_token(api: Caller, auth: Mock, images: Mock, method: str, path: str) -> None:
    response = api(method, path, token=None)

    assert response.status_code == 401
    assert response.json()["code"] == "unauthenticated"
    assert response["WWW-Authenticate"] == 'Bearer realm="seawall"'
    assert untouched(auth, images)


@pytest.mark.parametrize(("method", "path"), PERSONAL)
def test_an_expired_token_lets_nobody_in(
    api: Caller, auth: Mock, images: Mock, make_token: Callable[..., str], method: str, path: str
) -> None:
    response = api(method, path, token=make_token(exp=1_000_000_000))

    assert response.status_code == 401
    assert response.json()["code"] == "token_expired"
    assert untouched(auth, images)


def _unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "test"}).encode()).decode().rstrip("=")
    return f"{header}.{token.split('.')[1]}."


@pytest.mark.parametrize(
    "forge",
    [
        lambda make, key: make(key=OKPKey.generate_key("Ed25519")),
        lambda make, key: make(header={"kid": "other"}),
        lambda make, key: make(iss="somebody"),
        lambda make, key: make(aud="somewhere"),
        lambda make, key: make(aud=["seawall", "somewhere"]),
        lambda make, key: make(sub="not-an-id"),
        lambda make, key: make(sid=None),
        lambda make, key: make(exp="soon"),
        lambda make, key: make()[:-4] + "AAAA",
        lambda make, key: _unsigned(make()),
        lambda make, key: make().rpartition(".")[0],
        lambda make, key: "x",
        lambda make, key: "",
        lambda make, key: "a.b.c",
        lambda make, key: "\xff" * 20,
        lambda make, key: "x" * 5000,
    ],
)
def test_a_token_that_auth_did_not_make_lets_nobody_in(
    api: Caller, auth: Mock, images: Mock, make_token: Callable[..., str], signing_key: OKPKey, forge: Any
) -> None:
    response = api("GET", "/profile", token=forge(make_token, signing_key))

    assert response.status_code == 401
    assert response.json()["code"] == "invalid_token"
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert untouched(auth, images)


def test_a_token_signed_with_the_public_key_as_a_shared_secret_lets_nobody_in(
    api: Caller, make_token: Callable[..., str], signing_key: OKPKey
) -> None:
    import hashlib
    import hmac

    payload = make_token().split(".")[1]
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "test"}).encode()).decode().rstrip("=")
    secret = signing_key.as_pem(private=False)
    signature = hmac.new(secret, f"{header}.{payload}".encode(), hashlib.sha256).digest()
    forged = f"{header}.{payload}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    assert api("GET", "/profile", token=forged).json()["code"] == "invalid_token"


def test_a_token_with_another_algorithm_lets_nobody_in(api: Caller, make_token: Callable[..., str]) -> None:
    from joserfc import jwt

    key = RSAKey.generate_key(2048)
    forged = jwt.encode({"alg": "RS256", "kid": "test"}, {"sub": "x"}, key, ["RS256"])

    assert api("GET", "/profile", token=forged).json()["code"] == "invalid_token"


@pytest.mark.parametrize("header", ["Basic YWRhOnNlY3JldA==", "Token abc", "bearer", ""])
def test_another_way_to_authenticate_is_none(api: Caller, header: str) -> None:
    response = api("GET", "/profile", token=None, headers={"Authorization": header})

    assert response.status_code == 401


def test_cookies_are_not_looked_at(api: Caller) -> None:
    assert api("GET", "/profile", token=None, headers={"Cookie": "seawall=x; session=y"}).status_code == 401
    assert "Set-Cookie" not in api("GET", "/profile")


# --- bodies ---


@pytest.mark.parametrize(("method", "path"), WITH_JSON)
@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{",
        b"{'name': 'Ada'}",
        b'{"name": NaN}',
        b'{"name": "\xff\xfe"}',
        b"\xff\xfe{\x00}\x00",
        b"name=Ada",
        b"[" * 20_000,
        b'{"a":' * 10_000,
        b'{"n": ' + b"9" * 6000 + b"}",
    ],
)
def test_a_body_that_is_no_json_object_is_malformed(
    api: Caller, auth: Mock, images: Mock, method: str, path: str, body: bytes
) -> None:
    response = api(method, path, body=body)

    assert response.status_code == 400
    assert response.json()["code"] == "malformed_request"
    assert untouched(auth, images)


@pytest.mark.parametrize(("method", "path"), WITH_JSON)
def test_a_json_body_over_64_kib_is_too_large(api: Caller, method: str, path: str) -> None:
    response = api(method, path, body=b'{"name": "' + b"a" * 65_536 + b'"}')

    assert response.status_code == 413
    assert response.json()["code"] == "payload_too_large"


@pytest.mark.parametrize(("method", "path"), WITH_JSON)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
def test_another_media_type_is_not_supported(api: Caller, method: str, path: str, content_type: str) -> None:
    response = api(method, path, body=b"name=Ada", content_type=content_type)

    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "base64", "no-such-thing"])
def test_json_is_utf_8_whatever_the_charset_says(api: Caller, auth: Mock, charset: str) -> None:
    body = json.dumps({"refresh_token": "jörg"}, ensure_ascii=False).encode()

    response = api("POST", "/logout", body=body, content_type=f"application/json; charset={charset}", token=None)

    assert response.status_code == 204
    auth.sign_out.assert_called_once_with(refresh_token="jörg")


@pytest.mark.parametrize(
    "body",
    [
        b"no boundary here",
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
        b"",
    ],
)
def test_a_form_without_its_fields_is_refused(api: Caller, auth: Mock, body: bytes) -> None:
    response = api("POST", "/register", body=body, content_type="multipart/form-data; boundary=b", token=None)

    assert response.status_code in {400, 422}
    assert untouched(auth)


def test_a_form_without_a_boundary_is_malformed(api: Caller) -> None:
    response = api("POST", "/images", body=b"x", content_type="multipart/form-data")

    assert response.status_code == 400
    assert response.json()["code"] == "malformed_request"


def _form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"


def test_text_in_a_form_is_strict_utf_8(api: Caller, auth: Mock) -> None:
    good = _form(
        'name="name"\r\n\r\nJörg 🦭'.encode(),
        b'name="email"\r\n\r\na@example.org',
        b'name="password"\r\n\r\nlong enough',
    )
    bad = _form(
        b'name="name"\r\n\r\nJ\xf6rg', b'name="email"\r\n\r\na@example.org', b'name="password"\r\n\r\nlong enough'
    )
    kind = "multipart/form-data; boundary=b"

    assert api("POST", "/register", body=good, content_type=kind, token=None).status_code == 201
    assert auth.register.call_args.kwargs["name"] == "Jörg 🦭"
    refused = api("POST", "/register", body=bad, content_type=kind, token=None)
    assert refused.status_code == 400
    assert refused.json()["code"] == "malformed_request"


def test_text_in_a_form_has_a_limit(api: Caller) -> None:
    response = api("POST", "/register", form={"name": "a" * 70_000}, token=None)

    assert response.status_code == 413


def test_a_form_with_a_thousand_fields_is_refused(api: Caller) -> None:
    response = api("POST", "/register", form={f"field{n}": "x" for n in range(1000)}, token=None)

    assert response.status_code == 400


# --- media types of answers ---


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/*", "text/html, */*;q=0.1"])
def test_an_answer_in_json_is_acceptable(api: Caller, accept: str) -> None:
    assert api("GET", "/profile", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/png", "nonsense"])
def test_an_answer_in_another_form_is_not_to_be_had(api: Caller, auth: Mock, accept: str) -> None:
    response = api("GET", "/profile", headers={"Accept": accept})

    assert response.status_code == 406
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "not_acceptable"
    assert untouched(auth)


def test_a_format_in_the_query_means_nothing(api: Caller) -> None:
    assert api("GET", "/profile?format=xml").status_code == 200


# --- methods ---


@pytest.mark.parametrize("path", list(ALLOWED))
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"])
def test_a_method_that_a_path_does_not_have_is_not_allowed(api: Caller, path: str, method: str) -> None:
    allowed = ALLOWED[path].split(", ")
    if method in allowed:
        return

    response = api(method, path)

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"
    assert sorted(response["Allow"].split(", ")) == sorted(allowed)


@pytest.mark.parametrize("path", list(ALLOWED))
def test_options_names_the_methods_without_a_token(api: Caller, auth: Mock, images: Mock, path: str) -> None:
    response = api("OPTIONS", path, token=None)

    assert response.status_code == 204
    assert response.content == b""
    assert sorted(response["Allow"].split(", ")) == sorted(ALLOWED[path].split(", "))
    assert untouched(auth, images)


@pytest.mark.parametrize("path", ["/profile", "/images"])
def test_head_has_the_headers_of_get_and_no_body(api: Caller, path: str) -> None:
    head, get = api("HEAD", path), api("GET", path)

    assert head.status_code == 200
    assert head.content == b""
    assert head["Content-Type"] == get["Content-Type"]


# --- headers ---


@pytest.mark.parametrize(("method", "path"), PERSONAL)
def test_personal_answers_are_never_stored(api: Caller, method: str, path: str) -> None:
    for response in (api(method, path), api(method, path, token=None)):
        assert response["Cache-Control"] == "no-store"
        assert "Authorization" in response["Vary"]


def test_answers_with_tokens_are_never_stored(api: Caller) -> None:
    body = {"email": "ada@example.org", "password": "correct horse"}

    assert api("POST", "/login", json=body, token=None)["Cache-Control"] == "no-store"
    assert api("POST", "/refresh", json={"refresh_token": "r"}, token=None)["Cache-Control"] == "no-store"


def test_the_request_id_is_in_the_header_and_in_the_problem(api: Caller) -> None:
    own = api("GET", "/profile", token=None, headers={"X-Request-ID": "my-own-request-1"})
    foreign = api("GET", "/profile", token=None, headers={"X-Request-ID": "no good\x01"})

    assert own["X-Request-ID"] == own.json()["request_id"] == "my-own-request-1"
    assert foreign["X-Request-ID"] == foreign.json()["request_id"] != "no good\x01"


# --- everything else ---


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/login/", "/images/first", "/profile/image/x", "/é", "/%00"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_a_path_that_does_not_exist_gets_a_problem_document(api: Caller, method: str, path: str) -> None:
    response = api(method, path)

    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "not_found"
    assert response.json()["type"] == "/api/v1/problems#not_found"


@pytest.mark.parametrize("path", ["/api/", "/api/v2/profile", "/api/v1"])
def test_a_version_that_does_not_exist_gets_a_problem_document(path: str) -> None:
    response = Client(enforce_csrf_checks=True).post(path, headers={"Accept": "text/html"})

    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


def test_a_fault_of_ours_says_nothing_about_itself(api: Caller, auth: Mock) -> None:
    auth.sessions.side_effect = RuntimeError("secret detail")

    response = api("GET", "/sessions")

    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert b"secret" not in response.content


def test_a_problem_explains_itself_at_its_type(api: Caller) -> None:
    problem = api("GET", "/profile", token=None).json()
    page, _, code = problem["type"].partition("#")

    listed = {item["code"]: item for item in Client().get(page).json()["items"]}

    assert listed[code] == {key: problem[key] for key in ("code", "type", "status", "title")}
    assert set(listed) == set(CATALOGUE)
