"""A client of the running system, as a program somewhere would be: plain HTTP over urllib3, no code of ours between.

Every answer is compared with the OpenAPI document that the running system itself serves.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3
from PIL import Image

from tests.api.contract import Contract

PASSWORD = "plain harbour lantern 7"
_source = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers, and the bytes of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the problem document that this must be."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body[:200]
        document = self.json
        assert document["status"] == self.status
        assert document["request_id"] == self.headers["X-Request-ID"]
        assert document["detail"]
        assert "Traceback" not in self.body.decode()
        return str(document["code"])


class Person:
    """Somebody who calls the API, from an address of their own: nobody is locked out for what others tried."""

    def __init__(self, gateway: str, contract: Contract | None) -> None:
        number = next(_source)
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(connect=2, read=20),
            source_address=(f"127.0.{60 + number // 250}.{number % 250 + 1}", 0),
        )
        self._gateway = gateway
        self._contract = contract
        self.email = f"{secrets.token_hex(8)}@example.org"
        self.token: str | None = None
        self.refresh_token = ""
        self.id = ""

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, Any] | list[tuple[str, Any]] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if token or self.token:
            sent["Authorization"] = f"Bearer {token or self.token}"
        if json is not None:
            body = _dumps(json)
            sent["Content-Type"] = "application/json"
        if form is not None:
            body, sent["Content-Type"] = urllib3.encode_multipart_formdata(form)
        response = self._pool.request(method, f"{self._gateway}/api/v1{path}", body=body, headers=sent)
        answer = Answer(response.status, response.headers, response.data)
        assert answer.status < 500, answer.body[:500]
        if self._contract is not None:
            self._contract.judge(method, path.partition("?")[0], answer.status, answer.headers, answer.body)
        return answer

    def register(self, **form: Any) -> Answer:
        values = {"name": "Live test", "email": self.email, "password": PASSWORD}
        answer = (
            self.call("POST", "/register", form=values | form) if form else self.call("POST", "/register", json=values)
        )
        assert answer.status == 201, answer.body
        self.id = answer.json["id"]
        return answer

    def sign_in(self) -> Answer:
        answer = self.call("POST", "/login", json={"email": self.email, "password": PASSWORD})
        assert answer.status == 200, answer.body
        self.token, self.refresh_token = answer.json["access_token"], answer.json["refresh_token"]
        return answer

    def fetch(self, url: str) -> Answer:
        """Reads a stored image, without a token."""
        response = self._pool.request("GET", url)
        return Answer(response.status, response.headers, response.data)

    def close(self) -> None:
        self._pool.clear()


@pytest.fixture(scope="session")
def gateway() -> str:
    return os.environ["SEAWALL_TEST_GATEWAY"].rstrip("/")


@pytest.fixture(scope="session")
def contract(gateway: str) -> Contract:
    stranger = Person(gateway, None)
    answer = stranger.call("GET", "/schema", headers={"Accept": "application/json"})
    stranger.close()
    return Contract(answer.json)


@pytest.fixture
def new_person(gateway: str, contract: Contract) -> Iterator[Callable[[], Person]]:
    """Makes people who are not registered."""
    people: list[Person] = []

    def make() -> Person:
        people.append(Person(gateway, contract))
        return people[-1]

    yield make
    for person in people:
        person.close()


@pytest.fixture
def stranger(new_person: Callable[[], Person]) -> Person:
    return new_person()


@pytest.fixture
def person(new_person: Callable[[], Person]) -> Person:
    """Somebody who is registered and signed in."""
    somebody = new_person()
    somebody.register()
    somebody.sign_in()
    return somebody


@pytest.fixture
def other(new_person: Callable[[], Person]) -> Person:
    """Somebody else who is registered and signed in."""
    somebody = new_person()
    somebody.register()
    somebody.sign_in()
    return somebody


def picture(width: int = 32, height: int = 24, *, kind: str = "PNG") -> bytes:
    """The bytes of a small image."""
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()
