"""Addresses of a host, while the system's resolver answers, fails, or hangs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from internal import context, names
from internal.errors import Unavailable
from internal.names import Names
from internal.transport import Transport
from tests.internal import servers

LONG = 30.0  # seconds, that nobody waits here


class Resolver:
    """In the place of the system's: answers what the test says, or nothing."""

    def __init__(self) -> None:
        self.asked = 0
        self.hosts: list[str] = ["127.0.0.1"]
        self.fails = False
        self.answering = threading.Event()
        self.answering.set()

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        self.answering.wait(LONG)
        if self.fails:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.hosts]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(names.socket, "getaddrinfo", resolver)
    yield resolver
    resolver.answering.set()


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock of the module on."""
    ahead = [0.0]
    clock = time.monotonic
    monkeypatch.setattr(names.time, "monotonic", lambda: clock() + ahead[0])

    def move(seconds: float) -> None:
        ahead[0] += seconds

    return move


def found(host_names: Names, seconds: float = LONG) -> list[str]:
    return [address[0] for _, address in host_names.addresses(seconds)]


def test_an_address_is_nothing_to_ask_about() -> None:
    assert found(Names("127.0.0.1", 80)) == ["127.0.0.1"]
    assert found(Names("::1", 80)) == ["::1"]


def test_a_name_is_asked_about_again_after_a_while_only(resolver: Resolver, pass_time: Callable[[float], None]) -> None:
    host = Names("auth.example", 80)
    assert [found(host) for _ in range(3)] == [["127.0.0.1"]] * 3
    assert resolver.asked == 1

    resolver.hosts = ["127.0.0.2"]
    pass_time(names.FRESH_SECONDS)
    assert found(host) == ["127.0.0.2"]
    assert resolver.asked == 2


def test_a_name_that_cannot_be_resolved_is_an_error_in_time(resolver: Resolver) -> None:
    resolver.fails = True
    with pytest.raises(OSError, match=r"auth\.example"):
        Names("auth.example", 80).addresses(LONG)
    resolver.fails = False
    resolver.answering.clear()
    started = time.monotonic()
    with pytest.raises(OSError, match=r"auth\.example"):
        Names("auth.example", 80).addresses(0.1)
    assert time.monotonic() - started < LONG / 2


@pytest.mark.parametrize("fault", ["fails", "hangs"])
def test_the_last_good_addresses_are_used_while_the_resolver_does_not_answer(
    resolver: Resolver, pass_time: Callable[[float], None], fault: str
) -> None:
    host = Names("auth.example", 80)
    assert found(host) == ["127.0.0.1"]
    if fault == "hangs":
        resolver.answering.clear()
    resolver.fails = True
    for _ in range(5):
        pass_time(names.FRESH_SECONDS)
        assert found(host) == ["127.0.0.1"]
    assert resolver.asked == (2 if fault == "hangs" else 6)  # one question at a time

    pass_time(names.KEPT_SECONDS)
    with pytest.raises(OSError, match=r"auth\.example"):
        host.addresses(0.05)


def test_of_several_addresses_the_first_that_answers_is_used(resolver: Resolver) -> None:
    resolver.hosts = ["127.0.0.9", "127.0.0.1"]
    with servers.peer(servers.answers(servers.reply(200, b'{"a": 1}'))) as peer:
        port = int(peer.url.rpartition(":")[2])
        assert Transport("auth", f"http://auth.example:{port}").call("named", "POST", "/x").json == {"a": 1}
    assert len(peer.requests) == 1


def test_a_call_does_not_wait_for_a_resolver_that_hangs(resolver: Resolver) -> None:
    resolver.answering.clear()
    with context.deadline_of(LONG), pytest.raises(Unavailable) as caught:
        Transport("auth", "http://auth.example:80").call("unresolved", "GET", "/x")
    assert not caught.value.sent
    assert not resolver.answering.is_set()
