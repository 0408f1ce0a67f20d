"""A store of its own for each test, in a folder or on a real S3 server, and people with access tokens."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings as django_settings
from joserfc import jwt
from joserfc.jwk import OKPKey
from rest_framework.test import APIClient

from config.env import Environment
from config.settings._image_store import image_store
from images import store
from internal import signing, tokens
from tests.s3server import S3Server, s3_server

KEY = OKPKey.generate_key("Ed25519", {"kid": "tests", "alg": "Ed25519", "use": "sig"})
BODY_TYPE = "application/octet-stream"


class KeySetOfAuth:
    """What auth would publish: the TOKEN_KEY_SET of these tests."""

    def key(self, key_id: str) -> OKPKey | None:
        """The key of that id."""
        return KEY if key_id == "tests" else None


def access_token(account_id: UUID, *, lifetime: float = 600) -> str:
    """A token such as auth makes."""
    now = int(time.time())
    claims = {
        "iss": django_settings.TOKEN_ISSUER,
        "aud": django_settings.TOKEN_AUDIENCE,
        "sub": str(account_id),
        "sid": str(uuid4()),
        "iat": now,
        "exp": int(now + lifetime),
    }
    return jwt.encode({"alg": "Ed25519", "kid": "tests"}, claims, KEY, algorithms=["Ed25519"])


@dataclass
class Person:
    """Somebody with an account, and a client that sends the access token along."""

    id: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        self.client = APIClient(headers={"Authorization": f"Bearer {access_token(self.id)}"})

    def upload(self, data: bytes, query: str = "") -> Any:
        """The answer to an upload."""
        return self.client.post(f"/internal/v1/images{query}", data=data, content_type=BODY_TYPE)


def signature_of(path: str, data: bytes) -> dict[str, str]:
    """The headers with which the gateway signs a POST."""
    digest = hashlib.sha256(data).hexdigest()
    return signing.sign(django_settings.SERVICE_KEYS, method="POST", path=path, body_digest=digest)


def signed_post(path: str, data: bytes, *, signed_data: bytes | None = None) -> Any:
    """The answer to a call of the gateway, signed over `signed_data` in place of the body if that is given."""
    headers = signature_of(path, data if signed_data is None else signed_data)
    return APIClient().post(path, data=data, content_type=BODY_TYPE, headers=headers)


@pytest.fixture(autouse=True)
def key_set_of_auth(settings: Any) -> Iterator[None]:
    """Tokens are verified with the key of these tests."""
    settings.TOKEN_KEY_SET = "tests.images.conftest.KeySetOfAuth"
    tokens.key_set.cache_clear()
    yield
    tokens.key_set.cache_clear()


@pytest.fixture(autouse=True)
def image_root(settings: Any, tmp_path: Path) -> Path:
    """The folder of the store, empty at first."""
    root = tmp_path / "store"
    root.mkdir()
    entry = settings.STORAGES["images"]
    settings.STORAGES = {**settings.STORAGES, "images": entry | {"OPTIONS": entry["OPTIONS"] | {"location": str(root)}}}
    return root


@pytest.fixture
def person() -> Person:
    """The owner."""
    return Person()


@pytest.fixture
def stranger() -> Person:
    """Somebody else."""
    return Person()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server. A test that stops it starts it again."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def s3_entry(server: S3Server, **changes: str) -> dict[str, Any]:
    """The entry of STORAGES for that server, as the settings make it of the environment."""
    env = Environment()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IMAGE_ROOT", raising=False)
        for name, value in server.environment(**changes).items():
            patch.setenv(name, value)
        entry = image_store(env)
        env.seal()
    return entry


@pytest.fixture
def image_bucket(settings: Any, s3: S3Server, image_root: Path) -> S3Server:
    """The store is a bucket, empty at first."""
    s3.empty()
    settings.STORAGES = {**settings.STORAGES, "images": s3_entry(s3)}
    return s3


@pytest.fixture(params=["filesystem", "s3"])
def any_store(request: pytest.FixtureRequest) -> None:
    """The test is for either store: first for a folder, then for a bucket."""
    if request.param == "s3":
        request.getfixturevalue("image_bucket")


@pytest.fixture
def stored(request: pytest.FixtureRequest, image_root: Path) -> Any:
    """What the store holds: the names of everything in it, finished or not."""

    def names() -> set[str]:
        if not isinstance(store.storage(), store.DurableFileSystemStorage):
            server: S3Server = request.getfixturevalue("s3")
            return server.keys() | {item.name for item in store.unfinished()}
        return {str(path.relative_to(image_root)) for path in image_root.rglob("*") if not path.is_dir()}

    return names
