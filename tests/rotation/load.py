"""People who use the running system all the time, and notice every answer that they should not have got."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import urllib3

from tests.running import Person, url

PEOPLE = 8
RATE = 75.0  # calls a second that they aim at together
CLOCKS = 1.0  # seconds before its end in which a token need not be accepted any more: `exp` has whole seconds


def part_of(token: str, index: int) -> dict[str, Any]:
    """Header (0) or claims (1) of a token."""
    encoded = token.split(".")[index]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return decoded


@dataclass(frozen=True)
class Token:
    """An access token, which key signed it, and when it was got and ends (unix s)."""

    value: str = field(repr=False)
    kid: str
    got_at: float
    expires_at: float

    @classmethod
    def of(cls, value: str) -> Token:
        return cls(value, part_of(value, 0)["kid"], time.time(), part_of(value, 1)["exp"])

    def is_valid(self) -> bool:
        return time.time() < self.expires_at - CLOCKS


@dataclass(frozen=True)
class Refusal:
    """A call with a valid token that was not answered with 200."""

    at: float
    path: str
    kid: str
    status: int
    code: str


class Somebody(threading.Thread):
    """Uses the newest token and, just as often, the oldest one that is valid; refreshes long before tokens end."""

    def __init__(self, load: Load) -> None:
        super().__init__(daemon=True)
        self.load = load
        self.pool = urllib3.PoolManager(retries=False, timeout=10)
        self.person = Person.new().register().sign_in()
        self.tokens = [Token.of(self.person.access_token)]
        self.renewals: list[int] = []

    def run(self) -> None:
        """Until the load is over."""
        pause = PEOPLE / RATE
        due, turn = time.monotonic(), 0
        while not self.load.over.is_set():
            newest = self.tokens[-1]
            if self.load.renewing and time.time() - newest.got_at > (newest.expires_at - newest.got_at) / 3:
                self.renew()
            self.tokens = [token for token in self.tokens if token.is_valid()] or self.tokens[-1:]
            self.call(self.tokens[-1 if turn % 2 else 0], self.load.paths[turn // 2 % len(self.load.paths)])
            turn += 1
            due = max(due + pause, time.monotonic() - 1)
            self.load.over.wait(max(0.0, due - time.monotonic()))

    def renew(self) -> None:
        """Gets new tokens for the session."""
        known = {"refresh_token": self.person.refresh_token}
        answer = self.pool.request("POST", f"{url('gateway')}/api/v1/refresh", json=known)
        self.renewals.append(answer.status)
        if answer.status == 200:
            grant = answer.json()
            self.person.refresh_token = grant["refresh_token"]
            self.tokens.append(Token.of(grant["access_token"]))

    def call(self, token: Token, path: str) -> None:
        headers = {"Authorization": f"Bearer {token.value}"}
        answer = self.pool.request("GET", f"{url('gateway')}/api/v1{path}", headers=headers)
        self.load.answered += 1
        if answer.status != 200 and token.is_valid():
            self.load.refusals.append(Refusal(time.time(), path, token.kid, answer.status, answer.json()["code"]))
            if answer.status == 401:  # as a client does
                self.tokens.remove(token)
                if self.load.renewing and not self.tokens:
                    self.renew()
                self.tokens = self.tokens or [token]


@dataclass
class Load:
    """Everybody, and what came of it.

    Attributes:
        paths: what is called, in turn: a profile is answered with the help of auth and images, a list by images alone.
        renewing: whether people refresh their tokens.
    """

    paths: tuple[str, ...] = ("/profile", "/images?limit=1", "/images?limit=1")
    renewing: bool = True
    refusals: list[Refusal] = field(default_factory=list)
    answered: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    people: list[Somebody] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Calls that were answered in a second, on average."""
        return self.answered / self.seconds

    @property
    def renewals(self) -> list[int]:
        """The statuses with which refreshes were answered."""
        return [status for somebody in self.people for status in somebody.renewals]

    @contextmanager
    def running(self) -> Iterator[Load]:
        """Everybody calls while the block runs."""
        self.people = [Somebody(self) for _ in range(PEOPLE)]
        started = time.monotonic()
        for somebody in self.people:
            somebody.start()
        try:
            yield self
        finally:
            self.over.set()
            for somebody in self.people:
                somebody.join(30)
            self.seconds = time.monotonic() - started
        assert not any(somebody.is_alive() for somebody in self.people)
