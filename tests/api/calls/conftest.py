"""The API under config.settings.gateway, with the two services faked at the edge: their clients.

Every answer that `api` gets is compared with the OpenAPI document before a test looks at it.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import Mock, create_autospec
from uuid import UUID

import pytest
from django.http import HttpResponse
from django.test import Client
from joserfc import jwt
from joserfc.jwk import OKPKey

from internal import clients, tokens
from internal.clients import AuthClient, ImagesClient
from internal.contracts import Account, ImagePage, StoredImage, TokenGrant
from tests.api.contract import Contract

ACCOUNT_ID = UUID("018f6d0a-5a3e-7c41-9b7e-3f0e6f1d2c11")
SESSION_ID = UUID("018f6d0c-1b52-7f6a-8a0d-7b1a52a4c9d0")
IMAGE_ID = UUID("018f6d10-77aa-7d20-b1c4-5d5be8f3a7e2")
MOMENT = dt.datetime(2026, 11, 23, 9, 40, 12, tzinfo=dt.UTC)
MOMENT_JSON = "2026-11-23T09:40:12Z"

ACCOUNT = Account(
    id=ACCOUNT_ID,
    name="Ada Lovelace",
    email="ada@example.org",
    created_at=MOMENT,
    last_sign_in_at=MOMENT,
    previous_sign_in_at=None,
)
IMAGE = StoredImage(
    id=IMAGE_ID,
    content_type="image/png",
    width=640,
    height=480,
    size_bytes=1234,
    animated=False,
    created_at=MOMENT,
    is_profile_image=True,
    path=f"/uploads/{IMAGE_ID}.png",
    avatar_path=f"/uploads/{IMAGE_ID}.avatar.webp",
    card_path=f"/uploads/{IMAGE_ID}.card.webp",
)
IMAGE_JSON = {
    "id": str(IMAGE_ID),
    "content_type": "image/png",
    "width": 640,
    "height": 480,
    "size_bytes": 1234,
    "animated": False,
    "created_at": MOMENT_JSON,
    "is_profile_image": True,
    "url": f"http://files.test/uploads/{IMAGE_ID}.png",
    "avatar_url": f"http://files.test/uploads/{IMAGE_ID}.avatar.webp",
    "card_url": f"http://files.test/uploads/{IMAGE_ID}.card.webp",
}
PROFILE_JSON = {
    "id": str(ACCOUNT_ID),
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "created_at": MOMENT_JSON,
    "last_sign_in_at": MOMENT_JSON,
    "previous_sign_in_at": None,
    "image": IMAGE_JSON,
    "limited": [],
}
GRANT = TokenGrant(
    access_token="access", refresh_token="refresh", token_type="Bearer", expires_in=600, refresh_expires_in=2_592_000
)

Caller = Callable[..., HttpResponse]


@pytest.fixture(autouse=True)
def gateway_settings(settings: Any) -> None:
    settings.UPLOADS_URL = "http://files.test"
    settings.SECURE_SSL_REDIRECT = False
    # The pages name their static files; the names with hashes exist only after collectstatic.
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


@pytest.fixture(autouse=True)
def auth(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Stands in for the auth service; answers as it would for Ada."""
    fake: Mock = create_autospec(AuthClient, instance=True)
    fake.register.return_value = ACCOUNT
    fake.account.return_value = ACCOUNT
    fake.update_account.return_value = ACCOUNT
    fake.sign_in.return_value = GRANT
    fake.refresh.return_value = GRANT
    for method in (fake.sign_out, fake.change_password, fake.end_session, fake.close_account):
        method.return_value = None
    monkeypatch.setattr(clients, "auth_client", lambda: fake)
    return fake


@pytest.fixture(autouse=True)
def images(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Stands in for the image service; answers as it would for Ada, who has one image."""
    fake: Mock = create_autospec(ImagesClient, instance=True)
    fake.profile_image.return_value = IMAGE
    fake.set_profile_image.return_value = IMAGE
    fake.upload.return_value = IMAGE
    fake.upload_for.return_value = IMAGE
    fake.get.return_value = IMAGE
    fake.list.return_value = ImagePage(items=(IMAGE,), next_cursor=None, total=1)
    for method in (fake.validate, fake.delete, fake.clear_profile_image, fake.close_account):
        method.return_value = None
    monkeypatch.setattr(clients, "images_client", lambda: fake)
    return fake


@pytest.fixture(scope="session")
def signing_key() -> OKPKey:
    return OKPKey.generate_key("Ed25519", parameters={"kid": "test"}, private=True)


@pytest.fixture(autouse=True)
def key_set(monkeypatch: pytest.MonkeyPatch, signing_key: OKPKey) -> None:
    """Auth publishes the key of `signing_key`."""
    cache = tokens.JwksCache(lambda: {"keys": [signing_key.as_dict(private=False)]})
    monkeypatch.setattr(tokens, "key_set", lambda: cache)


@pytest.fixture
def make_token(signing_key: OKPKey, settings: Any) -> Callable[..., str]:
    """Makes access tokens: good ones, or with the claims and the key that are given."""

    def make(*, key: Any = None, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        now = int(time.time())
        good = {
            "iss": settings.TOKEN_ISSUER,
            "aud": settings.TOKEN_AUDIENCE,
            "sub": str(ACCOUNT_ID),
            "sid": str(SESSION_ID),
            "iat": now,
            "exp": now + 600,
        }
        return jwt.encode(
            {"alg": "Ed25519", "kid": "test", **(header or {})}, {**good, **claims}, key or signing_key, ["Ed25519"]
        )

    return make


@pytest.fixture
def token(make_token: Callable[..., str]) -> str:
    return make_token()


@pytest.fixture(scope="session")
def contract() -> Contract:
    from api.schema import openapi_document

    return Contract(openapi_document())


@pytest.fixture
def api(contract: Contract, token: str) -> Caller:
    """Calls the API: `api("PATCH", "/profile", json={...})`. Sends Ada's token unless `token` is given (None: none)."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)

    def call(
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, Any] | None = None,
        body: bytes = b"",
        content_type: str = "application/json",
        token: str | None = token,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        sent = {"Authorization": f"Bearer {token}"} if token is not None else {}
        data: Any = body
        if json is not None:
            data = _dumps(json)
        if form is not None:
            from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

            data, content_type = encode_multipart(BOUNDARY, form), MULTIPART_CONTENT
        response: HttpResponse = client.generic(
            method, f"/api/v1{path}", data, content_type=content_type, headers={**sent, **(headers or {})}
        )
        if method not in {"HEAD", "OPTIONS"}:
            contract.judge(method, path.partition("?")[0], response.status_code, response.headers, response.content)
        return response

    return call


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()
