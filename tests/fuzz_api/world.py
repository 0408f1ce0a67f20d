"""What the fuzzed calls need to get past authentication: an account that is signed in, and things that it owns."""

from __future__ import annotations

import io
import itertools
import secrets
from typing import Any

import requests
from PIL import Image
from requests.adapters import HTTPAdapter

_numbers = itertools.count(1)


def from_new_address() -> requests.Session:
    """A client with a loopback address of its own: sign-ins that fail are counted for each address."""
    number = next(_numbers)
    address = f"127.{100 + number // 62_500 % 100}.{number // 250 % 250 + 1}.{number % 250 + 1}"

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs, source_address=(address, 0))

    session = requests.Session()
    session.trust_env = False
    session.mount("http://", Adapter())
    return session


class World:
    """One account at a time; a new one is made when the fuzzing has closed or locked the last."""

    def __init__(self, gateway: str) -> None:
        self.base = f"{gateway}/api/v1"
        buffer = io.BytesIO()
        Image.effect_noise((16, 12), 60).save(buffer, "PNG")
        self.picture = buffer.getvalue()
        self.client = from_new_address()
        self.begin()

    def begin(self) -> None:
        """Registers a new account and signs in."""
        self.client.close()
        self.client = from_new_address()
        self.email = f"{secrets.token_hex(10)}@example.org"
        self.password = secrets.token_urlsafe(12)
        self.token = ""
        body = {"name": "Fuzz", "email": self.email, "password": self.password}
        self._ask("POST", "/register", 201, json=body)
        self.sign_in()

    def sign_in(self) -> None:
        """Starts a session and makes its tokens the ones in use."""
        grant = self._ask("POST", "/login", 200, json={"email": self.email, "password": self.password})
        self.token, self.refresh_token = grant["access_token"], grant["refresh_token"]

    def other_session(self) -> str:
        """The id of one more session of the account."""
        kept = self.token, self.refresh_token
        self.sign_in()
        sessions = self._ask("GET", "/sessions", 200)["items"]
        self.token, self.refresh_token = kept
        return next(str(session["id"]) for session in sessions if session["current"])

    def new_image(self) -> str:
        """The id of one more image of the account."""
        return str(self._ask("POST", "/images", 201, files={"image": ("x.png", self.picture)})["id"])

    def still_signed_in(self) -> bool:
        return self.client.get(f"{self.base}/sessions", headers=self._headers(), timeout=20).status_code == 200

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _ask(self, method: str, path: str, status: int, **options: Any) -> Any:
        answer = self.client.request(method, self.base + path, headers=self._headers(), timeout=20, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()
