"""Calls of auth's internal API with a stopwatch, over one connection that stays open.

They go to auth's own port, signed as the gateway signs them: what the gateway adds is the same for both kinds of
attempt, and would only blur the picture. The address is part of a signed call, so each attempt comes from another one
and meets no lockout.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

import urllib3

from internal import signing
from internal.keys import NamedKey
from tests import running

PASSWORD = "lantern-orchid-mosaic-41"
WRONG = "not-the-password-of-anybody-7"


@dataclass(frozen=True)
class Answer:
    """What came back, and after how many milliseconds."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]
    milliseconds: float


class Auth:
    """The auth role of the running system."""

    def __init__(self) -> None:
        self._url = running.url("auth")
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=30))
        name, _, secret = running.environment_of("auth")["SERVICE_KEYS"].split(",")[0].partition(":")
        self._keys = (NamedKey(name, base64.b64decode(secret)),)

    def call(self, path: str, payload: dict[str, Any]) -> Answer:
        """One signed call."""
        body = json.dumps(payload).encode()
        target = f"/internal/v1/{path}"
        headers = {"Content-Type": "application/json", "X-Request-ID": secrets.token_hex(16)}
        headers |= signing.sign(self._keys, method="POST", path=target, body_digest=hashlib.sha256(body).hexdigest())
        started = time.perf_counter()
        response = self._pool.request("POST", self._url + target, body=body, headers=headers)
        milliseconds = (time.perf_counter() - started) * 1000
        document = json.loads(response.data)
        document.pop("request_id", None)
        kept = {name: value for name, value in response.headers.items() if name not in {"X-Request-ID", "Date"}}
        return Answer(response.status, kept, document, milliseconds)

    def register(self, email: str) -> Answer:
        """An attempt to register."""
        return self.call("accounts", {"name": "Timing", "email": email, "password": PASSWORD})

    def sign_in(self, email: str, address: str, password: str = WRONG) -> Answer:
        """An attempt to sign in."""
        return self.call("sessions", {"email": email, "password": password, "device": "Timing", "address": address})


def new_email() -> str:
    """One that nobody has."""
    return f"{secrets.token_hex(10)}@example.org"


def new_address() -> str:
    """A network address, another one each time."""
    return "10." + ".".join(str(1 + secrets.randbelow(250)) for _ in range(3))
