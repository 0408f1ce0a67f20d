"""Calls of the internal API, as another role makes them."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.test import Client

from internal import signing, tokens

PASSWORD = "lantern-orchid-mosaic-41"
OTHER_PASSWORD = "velvet-harbour-quince-77"
EMAIL = "Ada.Lovelace@Example.org"
ADDRESS = "192.0.2.10"
DEVICE = "Firefox on Linux"
ORIGIN = {"device": DEVICE, "address": ADDRESS}


def signed(path: str, payload: Any, *, method: str = "POST", keys: Any = None) -> HttpResponse:
    """A call that the gateway signs."""
    return signed_bytes(path, json.dumps(payload).encode(), method=method, keys=keys)


def signed_bytes(
    path: str,
    body: bytes,
    *,
    method: str = "POST",
    content_type: str = "application/json",
    keys: Any = None,
) -> HttpResponse:
    """A signed call with whatever body."""
    target = f"/internal/v1/{path}"
    headers = signing.sign(
        keys or settings.SERVICE_KEYS, method=method, path=target, body_digest=hashlib.sha256(body).hexdigest()
    )
    return Client().generic(method, target, body, content_type=content_type, headers=headers)


def personal(method: str, path: str, token: str | None, payload: Any = None) -> HttpResponse:
    """A call on behalf of a person, or of nobody."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = b"" if payload is None else json.dumps(payload).encode()
    return Client().generic(method, f"/internal/v1/{path}", body, content_type="application/json", headers=headers)


def register(*, name: str = "Ada Lovelace", email: str = EMAIL, password: str = PASSWORD) -> dict[str, Any]:
    """A registered account, as the API describes it."""
    response = signed("accounts", {"name": name, "email": email, "password": password})
    assert response.status_code == 201, response.content
    return json.loads(response.content)


def try_sign_in(
    *, email: str = EMAIL, password: str = PASSWORD, address: str = ADDRESS, known_device: str = ""
) -> HttpResponse:
    """An attempt to sign in."""
    payload = {"email": email, "password": password, "device": DEVICE, "address": address}
    return signed("sessions", payload | ({"known_device": known_device} if known_device else {}))


def sign_in(**kwargs: Any) -> dict[str, Any]:
    """The tokens of a new session."""
    response = try_sign_in(**kwargs)
    assert response.status_code == 200, response.content
    return json.loads(response.content)


def refresh(token: str) -> HttpResponse:
    """An attempt to exchange a refresh token."""
    return signed("sessions/refresh", {"refresh_token": token, **ORIGIN})


def session_id(grant: dict[str, Any]) -> UUID:
    """Which session an access token belongs to."""
    return tokens.verify(grant["access_token"]).session


def problem(response: HttpResponse) -> tuple[int, str, list[tuple[str, str]]]:
    """Status, code, and the field and code of each error of a problem document."""
    assert response["Content-Type"] == "application/problem+json", response.content
    document = json.loads(response.content)
    assert document["status"] == response.status_code
    return (
        response.status_code,
        document["code"],
        [(error["field"], error["code"]) for error in document.get("errors", [])],
    )
