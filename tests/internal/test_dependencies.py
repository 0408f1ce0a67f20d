"""What the gateway sees of its dependencies: real sockets, and peers that answer well, badly, slowly or not at all."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from internal import dependencies
from internal.dependencies import DependencyState, PartState, look, states
from internal.sharing import SharedDocument
from tests.internal.servers import Behaviour, Peer, answers, reply, without_room

NewPeer = Callable[[Behaviour], Peer]
GOOD: dict[str, Any] = {"service": "images", "version": "1.2", "commit": "abc", "database": "up", "storage": "up"}


@pytest.fixture(autouse=True)
def boards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been seen yet."""
    monkeypatch.setattr(dependencies, "_boards", {name: SharedDocument() for name in dependencies.PARTS})


@pytest.fixture
def new_peer() -> Iterator[NewPeer]:
    with contextlib.ExitStack() as stack:

        def make(behaviour: Behaviour) -> Peer:
            peer = Peer(behaviour)
            stack.callback(peer.close)
            return peer

        yield make


def status(**changes: Any) -> bytes:
    return reply(200, json.dumps(GOOD | changes).encode())


def images() -> DependencyState:
    """What any worker reads."""
    return states()[1]


def metric(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"dependency": "images"})


def drip(connection: socket.socket, _: bytes) -> None:
    for byte in status():
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def hang(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


def reset(connection: socket.socket, _: bytes) -> None:
    connection.close()


def test_before_anybody_has_looked_nothing_is_known() -> None:
    assert states() == (
        DependencyState("auth", since=dependencies.STARTED_AT, parts=(PartState("database"),)),
        DependencyState("images", since=dependencies.STARTED_AT, parts=(PartState("database"), PartState("storage"))),
    )


def test_a_role_that_is_well_is_up_with_its_release(new_peer: NewPeer) -> None:
    peer = new_peer(answers(status()))
    before = time.time()

    seen = look("images", peer.url)

    assert images() == seen
    assert (seen.up, seen.answers, seen.fault, seen.missing) == (True, True, "", ())
    assert (seen.version, seen.commit, seen.stale) == ("1.2", "abc", False)
    assert before <= seen.since <= seen.checked_at <= time.time()
    assert seen.parts == (PartState("database", True, seen.since), PartState("storage", True, seen.since))
    assert states()[0].up is None
    assert metric("gateway_dependency_up") == 1
    assert metric("gateway_dependency_changed_timestamp_seconds") == seen.since
    assert b"GET /internal/v1/status HTTP/1.1\r\n" in peer.requests[0]
    assert b"X-Deadline-Ms: 1500\r\n" in peer.requests[0]


@pytest.mark.parametrize("missing", [("database",), ("storage",), ("database", "storage")])
def test_a_role_says_what_it_lacks(new_peer: NewPeer, missing: tuple[str, ...]) -> None:
    look("images", new_peer(answers(status(**dict.fromkeys(missing, "down")))).url)

    assert (images().up, images().answers, images().missing) == (False, True, missing)
    assert metric("gateway_dependency_up") == 0


@pytest.mark.parametrize(
    ("behaviour", "fault"),
    [
        (hang, "timed out"),
        (drip, "timed out"),
        (reset, "cut off"),
        (answers(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"), "timed out"),
        (answers(b"SSH-2.0-OpenSSH_9.2\r\n"), "not understood"),
        (answers(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n"), "not understood"),
        (answers(reply(200, b"<html>", "text/html")), "not understood"),
        (answers(reply(200, b"[" * 60_000)), "not understood"),
        (answers(reply(200, b'"' + b"x" * 70_000 + b'"')), "not understood"),
        (answers(reply(200, b"null")), "not understood"),
        (answers(reply(200, b"{}")), "not understood"),
        (answers(status(service="auth")), "not understood"),
        (answers(status(database="perhaps")), "not understood"),
        (answers(status(database=["up"])), "not understood"),
        (answers(status(version=None)), "not understood"),
        (answers(reply(302, json.dumps(GOOD).encode(), "application/json", "Location: /")), "not understood"),
        (answers(reply(404, b"{}")), "not understood"),
        (answers(reply(500, b"oops")), "failed"),
        (answers(reply(503, b"{}")), "failed"),
    ],
)
def test_whatever_else_comes_is_down_with_a_reason(new_peer: NewPeer, behaviour: Behaviour, fault: str) -> None:
    peer = new_peer(behaviour)

    look("images", peer.url)

    assert (images().up, images().answers, images().fault, images().missing) == (False, False, fault, ("images",))
    assert [part.up for part in images().parts] == [None, None]


def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        look("images", f"http://127.0.0.1:{probe.getsockname()[1]}")

    assert (images().up, images().fault) == (False, "refused")


def test_a_name_that_nobody_has_cannot_be_reached() -> None:
    look("images", "http://nowhere.invalid:8002")

    assert (images().up, images().fault) == (False, "unreachable")


def test_a_role_that_never_answers_is_given_up_in_time(new_peer: NewPeer) -> None:
    for behaviour in (hang, drip):
        started = time.monotonic()
        look("images", new_peer(behaviour).url)
        assert time.monotonic() - started < dependencies.TIMEOUT + 1.0


def test_a_resolver_that_hangs_holds_nobody_up(new_peer: NewPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    real, over = socket.getaddrinfo, threading.Event()

    def resolver(host: str, *args: Any, **options: Any) -> Any:
        if host == "images.example":
            over.wait(20)
        return real("127.0.0.1", *args, **options)

    peer = new_peer(answers(status()))
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    url = peer.url.replace("127.0.0.1", "images.example")
    started = time.monotonic()

    look("images", url)

    assert time.monotonic() - started < dependencies.TIMEOUT + 0.5
    assert (images().up, images().fault) == (False, "unreachable")
    over.set()
    until(lambda: bool(look("images", url).up), "the name is known")


def test_a_role_that_lets_nobody_in_is_given_up_in_time() -> None:
    with without_room() as port:
        started = time.monotonic()
        look("images", f"http://127.0.0.1:{port}")
        assert time.monotonic() - started < dependencies.TIMEOUT + 0.5

    assert (images().up, images().fault) == (False, "timed out")


def test_the_gauge_does_not_say_that_a_role_is_up_of_which_nothing_was_heard(
    new_peer: NewPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = new_peer(answers(status()))
    look("images", peer.url)
    dependencies.withdraw()
    assert metric("gateway_dependency_up") == 1
    now = time.monotonic()
    with monkeypatch.context() as later:
        later.setattr("internal.dependencies.time.monotonic", lambda: now + dependencies.STALE + 0.1)
        dependencies.withdraw()
    assert metric("gateway_dependency_up") == 0

    look("images", peer.url)

    assert metric("gateway_dependency_up") == 1


def test_what_was_heard_is_withdrawn_also_while_every_question_hangs(
    new_peer: NewPeer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AUTH_URL = settings.IMAGES_URL = new_peer(hang).url
    fork = multiprocessing.get_context("fork")
    withdrawn = fork.Semaphore(0)
    monkeypatch.setattr(dependencies, "INTERVAL", 0.05)
    monkeypatch.setattr(dependencies, "_ask", lambda *_: time.sleep(60))
    monkeypatch.setattr(dependencies, "withdraw", withdrawn.release)
    watcher = fork.Process(target=dependencies.watch)
    watcher.start()
    try:
        assert all(withdrawn.acquire(timeout=15) for _ in range(3))
    finally:
        watcher.kill()
        watcher.join()


def test_since_is_the_moment_of_the_change(new_peer: NewPeer) -> None:
    peer = new_peer(answers(status(), status(), status(storage="down"), status(storage="down"), status()))
    first, second, third, fourth, fifth = (look("images", peer.url) for _ in range(5))

    assert second.since == first.since
    assert first.since < third.since == fourth.since < fifth.since
    assert third.parts == (PartState("database", True, first.since), PartState("storage", False, third.since))
    assert fifth.parts == (PartState("database", True, first.since), PartState("storage", True, fifth.since))


def test_the_release_is_remembered_while_the_role_is_away(new_peer: NewPeer) -> None:
    peer = new_peer(answers(status(), reply(500, b"")))

    look("images", peer.url)
    look("images", peer.url)

    assert (images().version, images().commit, images().up) == ("1.2", "abc", False)


def test_an_absurd_release_does_no_harm(new_peer: NewPeer) -> None:
    look("images", new_peer(answers(status(version="\U0001f30a" * 2_000, commit="\x00" * 2_000))).url)

    assert (images().up, images().version) == (True, "\U0001f30a" * 100)


def test_half_a_character_in_a_release_can_be_shown(new_peer: NewPeer) -> None:
    look("images", new_peer(answers(status(version="1.2\ud800"))).url)

    assert images().version == "1.2?"


def test_what_is_old_says_nothing_any_more(new_peer: NewPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_peer(answers(status(storage="down"))).url
    look("images", url)
    time.sleep(0.01)
    seen = look("images", url)
    assert seen.since < seen.checked_at
    later = time.monotonic() + dependencies.STALE + 0.1
    monkeypatch.setattr("internal.dependencies.time.monotonic", lambda: later)

    assert (images().stale, images().up, images().answers, images().missing) == (True, None, None, ())
    assert (images().since, images().version) == (seen.checked_at, "1.2"), "unknown since it was asked last"
    assert {part.since for part in images().parts} == {seen.checked_at}


def test_a_process_of_its_own_watches_and_all_others_know(
    new_peer: NewPeer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a gateway: auth hangs, images goes and comes, the check itself breaks, and at last the process ends."""
    away = threading.Event()

    def moody(connection: socket.socket, _: bytes) -> None:
        connection.sendall(reply(503, b"") if away.is_set() else status())

    settings.AUTH_URL, settings.IMAGES_URL = new_peer(hang).url, new_peer(moody).url
    monkeypatch.setattr(dependencies, "INTERVAL", 0.05)
    monkeypatch.setattr(dependencies, "_ask", breaking_at_times(dependencies._ask))
    watcher = multiprocessing.get_context("fork").Process(target=dependencies.watch)
    watcher.start()
    try:
        until(lambda: images().up is True, "images is up")
        assert states()[0].up is None, "auth, which hangs, has held up images"
        away.set()
        until(lambda: images().fault == "failed", "images is down")
        until(lambda: states()[0].fault == "timed out", "auth is given up")
        away.clear()
        until(lambda: images().up is True, "images is up again")
    finally:
        watcher.kill()
        watcher.join()
    monkeypatch.setattr(dependencies, "STALE", 0.5)
    until(lambda: [state.stale for state in states()] == [True, True], "nobody watches any more")


def breaking_at_times(real: Callable[..., Any]) -> Callable[..., Any]:
    """The question, of which every other one breaks in a way that nobody has foreseen."""
    calls = {name: itertools.count() for name in dependencies.PARTS}  # or one of them might break each time

    def ask(name: str, address: str) -> Any:
        if next(calls[name]) % 2 == 0:
            raise MemoryError
        return real(name, address)

    return ask


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)
