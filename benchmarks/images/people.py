"""People of a running system: what they ask for, at the gateway and straight at images, over connections that stay."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import urllib3

from internal.transport import DEADLINE_HEADER
from tests.support import System

_BOUNDARY = secrets.token_hex(16)
_TOKEN_SECONDS = 300.0  # after which an access token is made anew; it lasts twice as long


class AnswerError(Exception):
    """An answer that was not expected, so that its time means nothing."""


@dataclass
class Person:
    """Somebody with an account."""

    system: System
    id: str = ""
    _email: str = field(default_factory=lambda: f"{secrets.token_hex(10)}@example.org")
    _password: str = field(default_factory=lambda: f"lantern {secrets.token_hex(6)} harbour")
    _token: str = field(default="", repr=False)
    _signed_in: float = 0.0
    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=30))

    def register(self) -> Person:
        """Makes the account."""
        account = {"name": "Benchmark", "email": self._email, "password": self._password}
        self.id = self._ask(0, "POST", "/api/v1/register", 201, json.dumps(account).encode(), "application/json")["id"]
        return self

    def upload(self, image: bytes) -> tuple[float, str]:
        """Stores an image through the public API; the seconds it took, and the image's id."""
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="image"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + image + f"\r\n--{_BOUNDARY}--\r\n".encode()
        return self._timed_upload(0, "/api/v1/images", body, f"multipart/form-data; boundary={_BOUNDARY}")

    def upload_to_images(self, image: bytes) -> tuple[float, str]:
        """The same without the gateway."""
        return self._timed_upload(2, "/internal/v1/images", image, "application/octet-stream")

    def list_images(self, *, cursor: str | None = None, limit: int = 24) -> tuple[float, dict[str, Any]]:
        """A page from images; the seconds it took, and the page."""
        token = self._fresh_token()
        place = f"&cursor={cursor}" if cursor else ""
        began = time.perf_counter()
        page = self._ask(2, "GET", f"/internal/v1/images?limit={limit}{place}", 200, token=token)
        return time.perf_counter() - began, page

    def delete(self, image_id: str) -> None:
        """Removes an image."""
        self._ask(2, "DELETE", f"/internal/v1/images/{image_id}", 204, token=self._fresh_token())

    def _timed_upload(self, role: int, path: str, body: bytes, content_type: str) -> tuple[float, str]:
        token = self._fresh_token()
        began = time.perf_counter()
        stored = self._ask(role, "POST", path, 201, body, content_type, token=token)
        return time.perf_counter() - began, str(stored["id"])

    def _fresh_token(self) -> str:
        if not self._token or time.monotonic() - self._signed_in > _TOKEN_SECONDS:
            credentials = json.dumps({"email": self._email, "password": self._password}).encode()
            answer = self._ask(0, "POST", "/api/v1/login", 200, credentials, "application/json")
            self._token, self._signed_in = answer["access_token"], time.monotonic()
        return self._token

    def _ask(
        self,
        role: int,
        method: str,
        path: str,
        status: int,
        body: bytes | None = None,
        content_type: str = "",
        *,
        token: str = "",
    ) -> dict[str, Any]:
        """One request to the role of that number, in the order of ports."""
        headers = {"Content-Type": content_type} if content_type else {}
        if token:
            headers |= {"Authorization": f"Bearer {token}", DEADLINE_HEADER: "14000"}
        url = f"http://127.0.0.1:{self.system.port_base + role}{path}"
        response = self._pool.request(method, url, body=body, headers=headers)
        if response.status != status:
            raise AnswerError(f"{method} {path} was answered with {response.status}: {response.data[:200]!r}")
        answer: dict[str, Any] = json.loads(response.data) if response.data else {}
        return answer
