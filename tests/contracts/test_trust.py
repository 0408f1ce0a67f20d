"""Who is let in by the internal APIs: signed calls of other roles, and people with tokens of their own; nobody else."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from internal import clients, signing
from internal.clients import AuthClient, ImagesClient
from internal.errors import InvalidReply, Unavailable
from internal.keys import NamedKey
from internal.transport import Transport
from tests.contracts.conftest import Member, rejection
from tests.running import Answer, ask, inside, url

SOMEBODY = str(uuid4())

SIGNED = [
    ("auth", "/internal/v1/accounts", {"name": "Bo", "email": "bo@example.org", "password": "walnut tractor velvet"}),
    ("auth", "/internal/v1/sessions", {"email": "bo@example.org", "password": "x", "device": "", "address": ""}),
    ("auth", "/internal/v1/sessions/refresh", {"refresh_token": "A" * 43, "device": "", "address": ""}),
    ("auth", "/internal/v1/sessions/revoke", {"refresh_token": "A" * 43}),
    ("images", "/internal/v1/validate", None),
    ("images", f"/internal/v1/accounts/{SOMEBODY}/images", None),
]
PERSONAL = [
    ("auth", "GET", "/internal/v1/account"),
    ("auth", "PATCH", "/internal/v1/account"),
    ("auth", "DELETE", "/internal/v1/account"),
    ("auth", "POST", "/internal/v1/account/password"),
    ("auth", "GET", "/internal/v1/sessions"),
    ("auth", "DELETE", f"/internal/v1/sessions/{SOMEBODY}"),
    ("images", "GET", "/internal/v1/images"),
    ("images", "POST", "/internal/v1/images"),
    ("images", "GET", f"/internal/v1/images/{SOMEBODY}"),
    ("images", "DELETE", f"/internal/v1/images/{SOMEBODY}"),
    ("images", "GET", "/internal/v1/profile-image"),
    ("images", "PUT", "/internal/v1/profile-image"),
    ("images", "DELETE", "/internal/v1/profile-image"),
    ("images", "DELETE", "/internal/v1/account"),
]


def body_of(content: Mapping[str, str] | None) -> tuple[bytes, str]:
    """The bytes to send and their type; None stands for an image, which is none."""
    if content is None:
        return b"no image", "application/octet-stream"
    return json.dumps(content).encode(), "application/json"


def call(role: str, path: str, body: bytes, kind: str, headers: Mapping[str, str]) -> Answer:
    return ask("POST", url(role) + path, body=body, headers={"Content-Type": kind} | dict(headers))


def signature(path: str, body: bytes, *, key: NamedKey | None = None) -> dict[str, str]:
    digest = hashlib.sha256(body).hexdigest()
    return signing.sign([key or settings.SERVICE_KEYS[0]], method="POST", path=path, body_digest=digest)


def refused(answer: Answer, code: str) -> bool:
    """Whether the answer is the problem of this code, and says so to a browser as RFC 6750 has it."""
    assert (answer.status, answer.json["code"]) == (401, code), answer.body
    assert ("WWW-Authenticate" in answer.headers) is (code != "invalid_signature")
    return True


# signed calls


@pytest.mark.parametrize(("role", "path", "content"), SIGNED)
def test_an_unsigned_call_is_refused(role: str, path: str, content: dict[str, str] | None) -> None:
    body, kind = body_of(content)

    assert refused(call(role, path, body, kind, {}), "invalid_signature")


@pytest.mark.parametrize(("role", "path", "content"), SIGNED)
def test_an_access_token_is_no_signature(role: str, path: str, content: dict[str, str] | None, member: Member) -> None:
    body, kind = body_of(content)

    assert refused(call(role, path, body, kind, {"Authorization": f"Bearer {member.token}"}), "invalid_signature")


@pytest.mark.parametrize(("role", "path", "content"), SIGNED)
def test_a_forged_signature_is_refused(
    role: str, path: str, content: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, kind = body_of(content)
    good = signature(path, body)
    own = NamedKey(settings.SERVICE_KEYS[0].id, secrets.token_bytes(32))
    forged = [
        signature(path, body, key=own),
        signature(path, body, key=NamedKey("unheard-of", secrets.token_bytes(32))),
        good | {signing.SIGNATURE_HEADER: "0" * 64},
        good | {signing.SIGNATURE_HEADER: "ü"},
        good | {signing.TIME_HEADER: str(int(good[signing.TIME_HEADER]) + 1)},
        good | {signing.TIME_HEADER: "now"},
        good | {signing.DIGEST_HEADER: hashlib.sha256(b"else").hexdigest()},
        signature("/internal/v1/other", body),
        signature(path, b"another body"),
    ]
    now = time.time()
    for moment in (now - 32, now + 32):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        forged.append(signature(path, body))
        monkeypatch.undo()

    for headers in forged:
        sent = {name: value.encode("latin-1") for name, value in headers.items()}
        assert refused(call(role, path, body, kind, sent), "invalid_signature")


def test_a_body_that_was_changed_on_the_way_is_refused(member: Member) -> None:
    path = "/internal/v1/sessions"
    content = {"email": member.account.email, "password": member.password, "device": "", "address": ""}
    body = json.dumps(content).encode()
    headers = signature(path, body)
    assert call("auth", path, body, "application/json", headers).status == 200

    changed = json.dumps(content | {"address": "192.0.2.1"}).encode()

    assert refused(call("auth", path, changed, "application/json", headers), "invalid_signature")


def test_a_client_with_a_key_that_nobody_accepts_gets_no_reply_it_could_use() -> None:
    key = NamedKey("unheard-of", secrets.token_bytes(32))
    auth = AuthClient(Transport("auth", url("auth"), (key,)))
    images = ImagesClient(Transport("images", url("images"), (key,)))

    with pytest.raises(InvalidReply):
        auth.sign_out(refresh_token="A" * 43)
    with pytest.raises(InvalidReply):
        images.validate(io.BytesIO(b"any"), 3)


def test_a_client_of_a_service_that_is_not_there_says_so() -> None:
    with pytest.raises(Unavailable):
        AuthClient(Transport("auth", "http://127.0.0.1:1", settings.SERVICE_KEYS)).sign_out(refresh_token="A" * 43)


# access tokens


@pytest.mark.parametrize(("role", "method", "path"), PERSONAL)
def test_a_personal_call_without_a_token_is_refused(role: str, method: str, path: str) -> None:
    assert refused(ask(method, url(role) + path), "unauthenticated")


@pytest.mark.parametrize(("role", "method", "path"), PERSONAL)
def test_a_signature_is_no_access_token(role: str, method: str, path: str) -> None:
    headers = signing.sign(settings.SERVICE_KEYS, method=method, path=path, body_digest=signing.EMPTY_DIGEST)

    assert refused(ask(method, url(role) + path, headers=headers), "unauthenticated")


@pytest.mark.parametrize(("role", "method", "path"), PERSONAL)
def test_a_token_that_was_tampered_with_is_refused(role: str, method: str, path: str, member: Member) -> None:
    header, payload, signed = member.token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    other = base64.urlsafe_b64encode(json.dumps(claims | {"sub": SOMEBODY}).encode()).decode().rstrip("=")

    assert refused(ask(method, url(role) + path, token=f"{header}.{other}.{signed}"), "invalid_token")


def _forgeries(token: str) -> dict[str, str]:
    """Tokens with the claims of a good one, made without the private key."""
    header, payload, signed = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    kid = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    own = OKPKey.generate_key("Ed25519")
    public = next(
        key
        for key in clients.auth_client().transport.call("jwks", "GET", "/internal/v1/jwks").json["keys"]
        if key["kid"] == kid
    )
    nothing = base64.urlsafe_b64encode(b'{"alg":"none","kid":"' + kid.encode() + b'"}').decode().rstrip("=")
    return {
        "own key under a known id": jwt.encode({"alg": "Ed25519", "kid": kid}, claims, own, algorithms=["Ed25519"]),
        "own key under its own id": jwt.encode({"alg": "Ed25519", "kid": "mine"}, claims, own, algorithms=["Ed25519"]),
        "no key id": jwt.encode({"alg": "Ed25519"}, claims, own, algorithms=["Ed25519"]),
        "no signature": f"{nothing}.{payload}.",
        "the public key as a shared secret": jwt.encode(
            {"alg": "HS256", "kid": kid}, claims, OctKey.import_key(public["x"]), algorithms=["HS256"]
        ),
        "cut short": f"{header}.{payload}.{signed[:-4]}",
        "two parts": f"{header}.{payload}",
        "nonsense": "nonsense",
        "too long": "x" * 5000,
        "not ASCII": "ü.ü.ü",
    }


@pytest.mark.parametrize(("role", "path"), [("auth", "/internal/v1/account"), ("images", "/internal/v1/images")])
def test_a_forged_token_is_refused(role: str, path: str, member: Member) -> None:
    for how, token in _forgeries(member.token).items():
        answer = ask("GET", url(role) + path, headers={"Authorization": f"Bearer {token}".encode()})
        assert refused(answer, "invalid_token"), how


def _issued(member: Member, *, seconds_ago: int = 0, environment: Mapping[str, str] | None = None) -> str:
    """A token for the member's session, signed with the real key in a process of its own."""
    token: str = inside(
        "auth",
        "import json, datetime as dt\n"
        "from uuid import UUID\n"
        "from auth.signing_keys import issue_access_token\n"
        f"now = dt.datetime.now(dt.UTC) - dt.timedelta(seconds={seconds_ago})\n"
        f"account, session = UUID('{member.account.id}'), UUID('{member.session_id}')\n"
        "print(json.dumps(issue_access_token(account_id=account, session_id=session, now=now, lifetime=600)))",
        environment,
    )
    return token


def test_an_expired_token_is_refused_as_expired(auth: AuthClient, images: ImagesClient, member: Member) -> None:
    good, expired = _issued(member), _issued(member, seconds_ago=601)

    assert auth.account(good).id == member.account.id
    assert images.list(good).total == 0
    rejection(lambda: auth.account(expired), "token_expired")
    rejection(lambda: images.list(expired), "token_expired")


@pytest.mark.parametrize("variable", ["TOKEN_ISSUER", "TOKEN_AUDIENCE"])
def test_a_token_of_another_system_is_refused(
    auth: AuthClient, images: ImagesClient, member: Member, variable: str
) -> None:
    foreign = _issued(member, environment={variable: "elsewhere"})

    rejection(lambda: auth.account(foreign), "invalid_token")
    rejection(lambda: images.list(foreign), "invalid_token")


# what no role answers


@pytest.mark.parametrize("role", ["auth", "images"])
@pytest.mark.parametrize("path", ["/", "/internal/v1/", "/internal/v2/status", "/admin/", "/api/v1/profile"])
def test_an_address_that_is_not_there_gets_a_problem_document(role: str, path: str) -> None:
    answer = ask("GET", url(role) + path)

    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: Any = answer.json
    assert document["code"] == "not_found"
    assert document["request_id"] == answer.headers["X-Request-ID"]
