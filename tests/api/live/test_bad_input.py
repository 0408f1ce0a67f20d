"""Bad input against the running system: each fault gets its own 4xx with a clear message, and nothing gets a 5xx."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import struct
import time
import zlib
from typing import Any
from urllib.parse import urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey, RSAKey

from tests.api.live.conftest import PASSWORD, Person, picture

FORM = "multipart/form-data; boundary=b"


def huge_png() -> bytes:
    """The header of a PNG of 50,000 by 50,000 pixels, and nothing of its content."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def part(name: str, content: bytes, *, file: str | None = None) -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
    return f"--b\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"


# --- fields ---


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], ["a"], {}, {"a": 1}])
@pytest.mark.parametrize("field", ["name", "email", "password"])
def test_a_field_of_the_wrong_type_is_named(stranger: Person, field: str, value: Any) -> None:
    body = {"name": "Ada", "email": stranger.email, "password": PASSWORD} | {field: value}

    answer = stranger.call("POST", "/register", json=body)

    assert (answer.status, answer.code) == (422, "invalid_input")
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert answer.json["errors"][0]["message"]


@pytest.mark.parametrize("field", ["name", "email", "password"])
def test_a_missing_field_is_named(stranger: Person, field: str) -> None:
    body = {"name": "Ada", "email": stranger.email, "password": PASSWORD}
    del body[field]

    answer = stranger.call("POST", "/register", json=body)

    assert (answer.status, answer.code) == (422, "invalid_input")
    assert [(error["field"], error["code"]) for error in answer.json["errors"]] == [(field, "required")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a" * 101),
        ("name", ""),
        ("name", " \t "),
        ("name", "a\x00b"),
        ("name", "\ud800"),
        ("email", "a" * 300 + "@example.org"),
        ("email", "no address"),
        ("email", "a\x00@example.org"),
        ("password", "short"),
        ("password", "p" * 73),
        ("password", "nul\x00nul\x00nul"),
        ("password", "password"),
    ],
)
def test_a_field_that_is_not_valid_is_named(stranger: Person, field: str, value: str) -> None:
    body = {"name": "Ada", "email": stranger.email, "password": PASSWORD} | {field: value}

    answer = stranger.call("POST", "/register", json=body)

    assert (answer.status, answer.code) == (422, "invalid_input")
    assert {error["field"] for error in answer.json["errors"]} == {field}


@pytest.mark.parametrize("change", [str.upper, str.capitalize, str.title])
def test_a_taken_email_is_taken_in_any_case(person: Person, stranger: Person, change: Any) -> None:
    body = {"name": "Ada", "email": change(person.email), "password": PASSWORD}

    answer = stranger.call("POST", "/register", json=body)

    assert (answer.status, answer.code) == (409, "email_taken")
    assert [error["field"] for error in answer.json["errors"]] == ["email"]


def test_an_email_cannot_be_changed_to_a_taken_one(person: Person, other: Person) -> None:
    answer = person.call("PATCH", "/profile", json={"email": other.email.upper(), "current_password": PASSWORD})

    assert (answer.status, answer.code) == (409, "email_taken")


# --- bodies ---


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"null", b'"a"', b"1", b'{"email": "\xff\xfe"}', b"\x00", b'{"a": NaN}', b"[" * 30_000],
)
@pytest.mark.parametrize("path", ["/register", "/login", "/refresh", "/logout"])
def test_a_body_that_is_no_json_object_is_malformed(stranger: Person, path: str, body: bytes) -> None:
    answer = stranger.call("POST", path, body=body, headers={"Content-Type": "application/json"})

    assert (answer.status, answer.code) == (400, "malformed_request")


def test_text_that_is_not_utf_8_in_a_form_is_malformed(stranger: Person) -> None:
    body = part("name", b"J\xf6rg") + part("email", stranger.email.encode()) + part("password", PASSWORD.encode())

    answer = stranger.call("POST", "/register", body=body + b"--b--\r\n", headers={"Content-Type": FORM})

    assert (answer.status, answer.code) == (400, "malformed_request")


def test_a_nul_byte_in_a_form_is_named(stranger: Person) -> None:
    form = {"name": "a\x00b", "email": stranger.email, "password": PASSWORD}

    answer = stranger.call("POST", "/register", form=form)

    assert (answer.status, answer.code) == (422, "invalid_input")
    assert [error["field"] for error in answer.json["errors"]] == ["name"]


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded"])
def test_another_media_type_is_not_supported(stranger: Person, kind: str) -> None:
    answer = stranger.call("POST", "/login", body=b"email=a", headers={"Content-Type": kind})

    assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_an_answer_in_another_form_is_not_to_be_had(person: Person) -> None:
    answer = person.call("GET", "/profile", headers={"Accept": "application/xml"})

    assert (answer.status, answer.code) == (406, "not_acceptable")


def test_json_of_12_mb_is_too_large(stranger: Person) -> None:
    body = b'{"email": "' + b"a" * 12_000_000 + b'"}'

    answer = stranger.call("POST", "/login", body=body, headers={"Content-Type": "application/json"})

    assert (answer.status, answer.code) == (413, "payload_too_large")


@pytest.mark.parametrize("path", ["/images", "/register"])
def test_a_file_of_12_mb_is_too_large(person: Person, path: str) -> None:
    answer = person.call("POST", path, form={"image": ("big.png", b"\x89PNG" * 3_000_000, "image/png")})

    assert (answer.status, answer.code) == (413, "image_too_large")
    assert [error["field"] for error in answer.json["errors"]] == ["image"]


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ("Content-Length: 1073741824", 413, "payload_too_large"),
        ("Transfer-Encoding: chunked", 411, "length_required"),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", FORM])
def test_a_body_that_is_announced_too_large_or_without_a_length_is_refused_at_once(
    gateway: str, kind: str, header: str, status: int, code: str
) -> None:
    place = urlsplit(gateway)
    request = (
        f"POST /api/v1/register HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: {kind}\r\n{header}\r\n"
        "Connection: close\r\n\r\n"
    )
    if "chunked" in header:
        request += "2\r\n{}\r\n0\r\n\r\n"
    started = time.monotonic()
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=10) as connection:
        connection.sendall(request.encode())
        received = b"".join(iter(lambda: connection.recv(65_536), b""))

    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["code"] == code
    assert time.monotonic() - started < 3


# --- files ---


BAD_FILES = {
    "an empty file": (b"", "not_an_image"),
    "text": (b"I am not a picture.\n" * 20, "not_an_image"),
    "a truncated PNG": (picture(300, 300)[:2000], "not_an_image"),
    "a PNG signature alone": (b"\x89PNG\r\n\x1a\n", "not_an_image"),
    "a huge PNG": (huge_png(), "too_many_pixels"),
    "an SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "not_an_image"),
    "a page": (b"<!DOCTYPE html><script>alert(1)</script>", "not_an_image"),
    "a BMP": (picture(kind="BMP"), "not_an_image"),
    "a TIFF": (picture(kind="TIFF"), "not_an_image"),
}


@pytest.mark.parametrize(("content", "code"), BAD_FILES.values(), ids=BAD_FILES.keys())
@pytest.mark.parametrize(("method", "path"), [("POST", "/images"), ("PUT", "/profile/image")])
def test_a_file_that_is_no_image_is_refused(person: Person, content: bytes, code: str, method: str, path: str) -> None:
    answer = person.call(method, path, form={"image": ("picture.png", content, "image/png")})

    assert (answer.status, answer.code) == (422, code)
    assert [(error["field"], error["code"]) for error in answer.json["errors"]] == [("image", code)]
    assert person.call("GET", "/images").json["total"] == 0


@pytest.mark.parametrize(("content", "code"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_registration_with_a_bad_image_registers_nothing(stranger: Person, content: bytes, code: str) -> None:
    form = {"name": "Ada", "email": stranger.email, "password": PASSWORD}

    answer = stranger.call("POST", "/register", form=form | {"image": ("me.png", content, "image/png")})

    assert (answer.status, answer.code) == (422, code)
    assert stranger.call("POST", "/login", json={"email": stranger.email, "password": PASSWORD}).status == 401


@pytest.mark.parametrize("name", ["picture.txt", "../../etc/passwd", "a" * 300 + ".png", "ä\u202e.png", "x.svg"])
def test_the_name_of_a_file_does_not_matter(person: Person, name: str) -> None:
    answer = person.call("POST", "/images", form={"image": (name, picture(), "text/html")})

    assert answer.status == 201
    assert answer.json["content_type"] == "image/png"
    assert answer.json["url"].endswith(".png")


@pytest.mark.parametrize(("method", "path"), [("POST", "/images"), ("PUT", "/profile/image"), ("POST", "/register")])
def test_two_files_in_one_field_are_refused(person: Person, method: str, path: str) -> None:
    file = ("x.png", picture(), "image/png")

    answer = person.call(method, path, form=[("image", file), ("image", file)])

    assert (answer.status, answer.code) == (422, "one_file_only")


def test_a_file_in_an_unknown_field_is_refused(person: Person) -> None:
    answer = person.call("POST", "/images", form={"photo": ("x.png", picture(), "image/png")})

    assert (answer.status, answer.code) == (422, "invalid_input")
    assert [(error["field"], error["code"]) for error in answer.json["errors"]] == [("photo", "unexpected_file")]


# --- tokens ---


def read_token(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token, not verified."""
    header, claims = (json.loads(base64.urlsafe_b64decode(text + "==")) for text in token.split(".")[:2])
    return header, claims


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def with_shared_secret(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    text = f"{encoded(header | {'alg': 'HS256'})}.{encoded(claims)}"
    signature = base64.urlsafe_b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()
    return f"{text}.{signature.rstrip('=')}"


def forgeries(token: str, public: OKPKey) -> dict[str, str]:
    """Tokens that look like `token`, which auth signed with the key whose public half is `public`."""
    header, claims = read_token(token)
    own = OKPKey.generate_key("Ed25519")
    rsa = RSAKey.generate_key(2048)
    first, middle, last = token.split(".")

    def signed(**changes: Any) -> str:
        return jwt.encode(header, claims | changes, own, ["Ed25519"])

    return {
        "another key under the same id": signed(),
        "another key, expired": signed(exp=int(time.time()) - 60),
        "another key under an id of its own": jwt.encode(header | {"kid": "mine"}, claims, own, ["Ed25519"]),
        "no algorithm": f"{encoded({'alg': 'none', 'kid': header['kid']})}.{encoded(claims)}.",
        "the public key as a shared secret": with_shared_secret(header, claims, public.as_pem(private=False)),
        "the bytes of the public key as a shared secret": with_shared_secret(
            header, claims, base64.urlsafe_b64decode(str(public.as_dict(private=False)["x"]) + "=")
        ),
        "RSA": jwt.encode(header | {"alg": "RS256"}, claims, rsa, ["RS256"]),
        "another issuer": signed(iss="somebody"),
        "another audience": signed(aud="somewhere"),
        "other claims under the old signature": f"{first}.{encoded(claims | {'sub': claims['sid']})}.{last}",
        "later expiry under the old signature": f"{first}.{encoded(claims | {'exp': 2**40})}.{last}",
        "another header under the old signature": f"{encoded(header | {'jku': 'http://x'})}.{middle}.{last}",
        "half a token": token[: len(token) // 2],
        "a token and more": token + "A" * 40,
        "no token": "nonsense",
        "a very long one": "a" * 6000,
    }


def test_a_token_that_auth_did_not_make_lets_nobody_in(person: Person, stranger: Person) -> None:
    assert person.token is not None
    key_set = person.fetch(f"{os.environ['SEAWALL_TEST_AUTH']}/internal/v1/jwks").json
    key_id = read_token(person.token)[0]["kid"]
    public = OKPKey.import_key(next(key for key in key_set["keys"] if key["kid"] == key_id))

    for name, forged in forgeries(person.token, public).items():
        for method, path in (("GET", "/profile"), ("GET", "/images"), ("POST", "/images"), ("DELETE", "/profile")):
            answer = stranger.call(method, path, token=forged)
            assert (answer.status, answer.code) == (401, "invalid_token"), name
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert person.call("GET", "/profile").status == 200


def test_a_refresh_token_is_no_access_token_and_the_other_way_round(person: Person, stranger: Person) -> None:
    assert stranger.call("GET", "/profile", token=person.refresh_token).code == "invalid_token"
    answer = stranger.call("POST", "/refresh", json={"refresh_token": person.token})
    assert answer.status in {401, 422}


@pytest.mark.parametrize("value", ["nonsense", "a" * 43, "ä" * 43, "a" * 256])
def test_a_made_up_refresh_token_is_refused(stranger: Person, value: str) -> None:
    answer = stranger.call("POST", "/refresh", json={"refresh_token": value})

    assert (answer.status, answer.code) == (401, "invalid_refresh_token")


# --- paths and queries ---


@pytest.mark.parametrize(
    "path", ["/nothing", "/images/7", "/images/../../x", "/sessions/", "/%00", "/%ff%fe", "/profile/"]
)
def test_a_path_that_does_not_exist_is_not_found(person: Person, path: str) -> None:
    answer = person.call("GET", path)

    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=", "cursor=", "cursor=%00", "cursor=%ff"])
def test_a_page_that_cannot_be_is_refused(person: Person, query: str) -> None:
    answer = person.call("GET", f"/images?{query}")

    assert (answer.status, answer.code) == (422, "invalid_input")
    assert [error["field"] for error in answer.json["errors"]] == [query.partition("=")[0]]


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/login"), ("GET", "/register"), ("PUT", "/images")])
def test_a_method_that_a_path_does_not_have_is_not_allowed(person: Person, method: str, path: str) -> None:
    answer = person.call(method, path)

    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["Allow"]
