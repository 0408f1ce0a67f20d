"""The client against peers that misbehave, on real sockets."""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client import REGISTRY

from internal import connections, context, signing, transport
from internal.breaker import State
from internal.bulkhead import Bulkhead, Full
from internal.errors import InvalidReply, Rejected, Unavailable
from internal.keys import NamedKey
from internal.problems import FieldError, Problem
from internal.transport import Body, Transport
from tests.internal import servers

KEYS = (NamedKey("new", b"n" * 32), NamedKey("old", b"o" * 32))


def outcomes(operation: str, outcome: str) -> float:
    return outcomes_of("auth", operation, outcome)


def outcomes_of(dependency: str, operation: str, outcome: str) -> float:
    labels = {"dependency": dependency, "operation": operation, "outcome": outcome}
    return REGISTRY.get_sample_value("seawall_client_calls_total", labels) or 0.0


def header(request: bytes, name: str) -> str | None:
    for line in request.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None


def test_a_good_answer_is_returned_and_the_call_carries_token_request_id_and_deadline() -> None:
    with servers.peer(servers.answers(servers.reply(200, b'{"a": 1}'))) as peer:
        context.begin_request("request-0001")
        with context.deadline_of(2.0):
            reply = Transport("auth", peer.url).call("good", "GET", "/x", token="t0ken", query={"limit": 3})
        context.end_request()

    assert (reply.status, reply.json) == (200, {"a": 1})
    request = peer.requests[0]
    assert request.startswith(b"GET /x?limit=3 HTTP/1.1\r\n")
    assert header(request, "Authorization") == "Bearer t0ken"
    assert header(request, "X-Request-ID") == "request-0001"
    assert 1500 < int(header(request, "X-Deadline-Ms") or 0) <= 2000
    assert outcomes("good", "ok") == 1


@pytest.mark.parametrize("behaviour", [servers.never_answers, servers.drips], ids=["silent", "dripping"])
def test_a_peer_that_is_too_slow_is_given_up_at_the_deadline_and_not_later(behaviour: servers.Behaviour) -> None:
    with servers.peer(behaviour) as peer:
        started = time.monotonic()
        with context.deadline_of(0.5), pytest.raises(Unavailable):
            Transport("auth", peer.url).call("slow", "GET", "/x")
        assert 0.4 < time.monotonic() - started < 1.0


@pytest.mark.parametrize("way", ["answer", "upload"])
def test_one_byte_a_second_is_given_up_at_the_deadline_of_an_upload(way: str) -> None:
    """Whichever way it goes: the answer comes so slowly, or the picture is taken so slowly."""

    def byte_by_byte(connection: socket.socket) -> None:
        answer = servers.reply(201, b"{}")
        with connection, contextlib.suppress(OSError):
            while way == "answer" and len(connection.recv(65536)) == 65536:
                pass
            while not over.wait(1.0):
                if way == "upload":
                    connection.recv(1)
                else:
                    connection.sendall(answer[:1])
                    answer = answer[1:]

    over = threading.Event()
    picture = Body(io.BytesIO(b"p" * 16_000_000), 16_000_000 if way == "upload" else 7)
    picture.file.truncate(picture.size)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        threads.submit(lambda: byte_by_byte(listener.accept()[0]))
        started = time.monotonic()
        with context.upload_deadline_of(2.5), pytest.raises(Unavailable) as caught:
            Transport("images", url).call("slow_upload", "POST", "/x", body=picture)
        assert 2.4 < time.monotonic() - started < 3.0
        over.set()
    assert caught.value.sent


@pytest.mark.parametrize("behaviour", [servers.closes_in_the_body, servers.resets], ids=["truncated", "reset"])
def test_a_broken_connection_is_unavailable_and_only_a_get_is_repeated_once(behaviour: servers.Behaviour) -> None:
    with servers.peer(behaviour) as peer:
        with pytest.raises(Unavailable):
            Transport("auth", peer.url).call("broken_get", "GET", "/x")
        assert len(peer.requests) == 2
        with pytest.raises(Unavailable):
            Transport("auth", peer.url).call("broken_post", "POST", "/x", payload={})
        assert len(peer.requests) == 3


def test_a_repeated_get_that_succeeds_is_a_success() -> None:
    attempts = []

    def first_resets(connection: socket.socket, request: bytes) -> None:
        attempts.append(request)
        behave = servers.resets if len(attempts) == 1 else servers.answers(servers.reply(200, b"[]"))
        behave(connection, request)

    with servers.peer(first_resets) as peer:
        assert Transport("auth", peer.url).call("repeated", "GET", "/x").json == []
    assert len(attempts) == 2


def test_calls_that_find_no_connection_are_each_made_once_more_and_spend_no_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pod that goes refuses all the calls that are led to it at that moment; the next attempt finds another pod."""
    opened = threading.local()
    all_refused = threading.Barrier(4)
    reach = connections.Connection.open

    def refused_at_first(connection: connections.Connection, seconds: float) -> None:
        if not hasattr(opened, "before"):
            opened.before = True
            all_refused.wait(5)
            raise connections.NotConnected("ConnectionRefusedError")
        reach(connection, seconds)

    monkeypatch.setattr(connections.Connection, "open", refused_at_first)
    with servers.peer(servers.answers(servers.reply(200, b"[]"))) as peer, ThreadPoolExecutor(4) as threads:
        transport = Transport("auth", peer.url)
        found = threads.map(lambda method: transport.call("led_astray", method, "/x").json, ("GET", "POST") * 2)
        assert list(found) == [[]] * 4
        assert len(peer.requests) == 4


def test_a_refused_connection_is_unavailable_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(Unavailable):
        Transport("auth", f"http://127.0.0.1:{port}").call("refused", "POST", "/x", payload={})
    assert time.monotonic() - started < 0.5
    assert outcomes("refused", "unavailable") == 1


@pytest.mark.parametrize(
    "answer",
    [
        servers.reply(200, b"<html>", "text/html"),
        servers.reply(200, b"not json"),
        servers.reply(200, b"\xff\xfe"),
        servers.reply(404, b"{}"),
        servers.reply(302, b"", "text/html", "Location: http://127.0.0.1:9/"),
        servers.reply(404, b'{"code": "no_such_code"}', "application/problem+json"),
        servers.reply(401, b'{"code": "invalid_signature"}', "application/problem+json"),
        servers.reply(200, b"[" + b"1," * 1_100_000 + b"1]"),
        servers.reply(422, b'{"code": []}', "application/problem+json"),
        servers.reply(422, b'{"code": "invalid_input", "errors": 5}', "application/problem+json"),
        servers.reply(200, b"[" * 100_000),
    ],
    ids=[
        "html",
        "rubbish",
        "bytes",
        "no problem",
        "redirect",
        "unknown code",
        "signature refused",
        "endless",
        "code of another type",
        "errors of another type",
        "too deep",
    ],
)
def test_an_answer_that_is_not_of_the_contract_is_an_invalid_reply(answer: bytes) -> None:
    with servers.peer(servers.answers(answer)) as peer, pytest.raises(InvalidReply):
        Transport("auth", peer.url).call("invalid", "GET", "/x")


def test_a_problem_is_a_rejection_with_everything_that_it_said() -> None:
    problem = Problem("invalid_input", "No.", (FieldError("name", "blank", "Give a name."),))
    body = json.dumps(problem.to_json()).encode()
    with (
        servers.peer(servers.answers(servers.reply(422, body, "application/problem+json"))) as peer,
        pytest.raises(Rejected) as caught,
    ):
        Transport("auth", peer.url).call("rejected", "POST", "/x", payload={})
    assert caught.value.problem == problem


def test_retry_after_of_a_rejection_is_passed_on() -> None:
    body = json.dumps(Problem("account_locked", "Wait.").to_json()).encode()
    answer = servers.reply(429, body, "application/problem+json", "Retry-After: 17")
    with servers.peer(servers.answers(answer)) as peer, pytest.raises(Rejected) as caught:
        Transport("auth", peer.url).call("locked", "POST", "/x", payload={})
    assert caught.value.problem.retry_after == 17


def test_a_failing_service_is_unavailable_but_a_full_store_is_an_answer() -> None:
    down = json.dumps(Problem("database_unavailable", "Gone.").to_json()).encode()
    full = json.dumps(Problem("storage_full", "Full.").to_json()).encode()
    failing = servers.answers(servers.reply(503, down, "application/problem+json"))
    with servers.peer(failing) as peer, pytest.raises(Unavailable):
        Transport("images", peer.url).call("down", "POST", "/x", payload={})
    refusing = servers.answers(servers.reply(507, full, "application/problem+json"))
    with servers.peer(refusing) as peer, pytest.raises(Rejected) as caught:
        Transport("images", peer.url).call("full", "POST", "/x", payload={})
    assert caught.value.problem.code == "storage_full"


def test_the_circuit_opens_after_failures_in_a_row_and_closes_when_the_service_is_back() -> None:
    healthy = False

    def behave(connection: socket.socket, request: bytes) -> None:
        status = 200 if healthy else 500
        servers.answers(servers.reply(status, b"{}"))(connection, request)

    with servers.peer(behave) as peer:
        transport = Transport("auth", peer.url)
        for _ in range(5):
            with pytest.raises(Unavailable):
                transport.call("circuit", "POST", "/x", payload={})
        assert transport.breaker.state is State.OPEN
        with pytest.raises(Unavailable):
            transport.call("circuit", "POST", "/x", payload={})
        assert len(peer.requests) == 5
        assert outcomes("circuit", "circuit_open") == 1

        healthy = True
        deadline = time.monotonic() + 5
        while transport.breaker.state is not State.CLOSED:
            assert time.monotonic() < deadline, "the circuit did not close"
            try:
                transport.call("circuit", "POST", "/x", payload={})
            except Unavailable:
                time.sleep(0.05)


def test_faults_of_a_service_in_single_calls_do_not_open_the_circuit() -> None:
    """Whoever finds an input that causes one must not be able to cut everybody else off."""
    body = json.dumps(Problem("internal_error", "It has been logged.").to_json()).encode()
    with servers.peer(servers.answers(servers.reply(500, body, "application/problem+json"))) as peer:
        transport = Transport("auth", peer.url)
        for _ in range(20):
            with pytest.raises(Unavailable):
                transport.call("faulty", "POST", "/x", payload={})
        assert transport.breaker.state is State.CLOSED
        assert len(peer.requests) == 20


def test_a_deadline_that_passed_before_the_call_says_nothing_about_the_service() -> None:
    with servers.peer(servers.answers(servers.reply(200, b"{}"))) as peer:
        transport = Transport("auth", peer.url)
        for _ in range(10):
            with context.deadline_of(-1), pytest.raises(Unavailable) as caught:
                transport.call("too_late", "POST", "/x", payload={})
            assert not caught.value.sent
        assert transport.breaker.state is State.CLOSED
        assert peer.requests == []
    assert outcomes("too_late", "deadline_exceeded") == 10


def test_a_call_without_an_answer_may_have_been_carried_out_and_one_without_a_connection_not() -> None:
    with (
        servers.peer(servers.never_answers) as peer,
        context.deadline_of(0.3),
        pytest.raises(Unavailable) as unanswered,
    ):
        Transport("auth", peer.url).call("unanswered", "POST", "/x", payload={})
    assert unanswered.value.sent
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unavailable) as refused:
        Transport("auth", f"http://127.0.0.1:{port}").call("refused_too", "POST", "/x", payload={})
    assert not refused.value.sent


@pytest.mark.parametrize(
    ("status", "code", "is_open"),
    [(500, "internal_error", True), (504, "", True), (503, "busy", False), (503, "database_unavailable", True)],
)
def test_after_a_failure_that_says_nothing_of_it_a_call_may_have_been_carried_out(
    status: int, code: str, is_open: bool
) -> None:
    document = Problem(code, "It has been noted.").to_json() if code else {}
    reply = servers.reply(status, json.dumps(document).encode(), "application/problem+json")
    with servers.peer(servers.answers(reply)) as peer, pytest.raises(Unavailable) as caught:
        Transport("auth", peer.url).call("failed", "POST", "/x", payload={})
    assert caught.value.sent is is_open


def test_a_signed_call_is_one_that_the_other_side_verifies_and_a_file_is_sent_whole() -> None:
    content = b"\x00\x01picture" * 50_000
    with servers.peer(servers.answers(servers.reply(204, b""))) as peer:
        body = Body(io.BytesIO(content), len(content))
        reply = Transport("images", peer.url, KEYS).call("send", "POST", "/in?a=1", signed=True, body=body)

    assert (reply.status, reply.json) == (204, None)
    request = peer.requests[0]
    assert request.endswith(content)
    names = ("KEY", "TIME", "NONCE", "DIGEST", "SIGNATURE")
    headers = {name: header(request, name) or "" for name in (getattr(signing, f"{part}_HEADER") for part in names)}
    assert signing.verify(KEYS, headers, method="POST", path="/in?a=1").key_id == "new"
    assert signing.digest_matches(headers, Body(io.BytesIO(content), len(content)).digest())


def test_a_connection_is_kept_and_used_again() -> None:
    peers = set()

    def remember(connection: socket.socket, request: bytes) -> None:
        peers.add(connection.getpeername())
        servers.answers(servers.reply(200, b"{}"))(connection, request)

    with servers.peer(remember) as peer:
        transport = Transport("auth", peer.url)
        for _ in range(5):
            transport.call("kept", "GET", "/x")
    assert len(peers) == 1


def test_a_connection_that_idled_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = set()

    def remember(connection: socket.socket, request: bytes) -> None:
        peers.add(connection.getpeername())
        servers.answers(servers.reply(200, b"{}"))(connection, request)

    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.0)
    with servers.peer(remember) as peer:
        client = Transport("auth", peer.url)
        for _ in range(3):
            client.call("idle", "POST", "/x")
    assert len(peers) == 3


def test_a_connection_that_the_other_side_has_closed_meanwhile_is_not_used_again() -> None:
    closed = threading.Event()

    def answer_and_close(connection: socket.socket, request: bytes) -> None:
        servers.answers(servers.reply(200, b"{}"))(connection, request)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with servers.peer(answer_and_close) as peer:
        client = Transport("auth", peer.url)
        for _ in range(5):
            closed.clear()
            client.call("closed", "POST", "/x")
            assert closed.wait(5)
    assert len(peer.requests) == 5


STOLEN = servers.reply(200, b'{"of": "somebody else"}')
GOOD = b'{"of": "me"}'


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


JSON = "Content-Type: application/json"
CHUNKED = ("HTTP/1.1 200 OK", JSON, "Transfer-Encoding: chunked")
# What an answer can look like that is none, or leaves something behind; and whether the call succeeds all the same.
ODDITIES: dict[str, tuple[bytes, bool]] = {
    "another answer behind it": (servers.reply(200, GOOD) + STOLEN, True),
    "rubbish behind it": (servers.reply(200, GOOD) + b"\r\n<html>", True),
    "a length too short": (head("HTTP/1.1 200 OK", JSON, "Content-Length: 2") + b"{}" + STOLEN, True),
    "no length, and the end of the connection": (head("HTTP/1.1 200 OK", JSON, "Connection: close") + GOOD, True),
    "a body where none belongs": (head("HTTP/1.1 204 No Content") + STOLEN, True),
    "two lengths": (head("HTTP/1.1 200 OK", JSON, "Content-Length: 2", "Content-Length: 12") + b"{}" + GOOD, False),
    "a list of lengths": (head("HTTP/1.1 200 OK", JSON, "Content-Length: 2, 12") + b"{}" + STOLEN, False),
    "no number as length": (head("HTTP/1.1 200 OK", JSON, "Content-Length: -2") + GOOD, False),
    "length and chunks": (
        head("HTTP/1.1 200 OK", JSON, "Content-Length: 2", "Transfer-Encoding: chunked")
        + b"2\r\n{}\r\n0\r\n\r\n"
        + STOLEN,
        False,
    ),
    "bad chunks": (head("HTTP/1.1 200 OK", JSON, "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n" + STOLEN, False),
    "a chunk of less than nothing": (head(*CHUNKED) + b"-5\r\n{}\r\n0\r\n\r\n" + STOLEN, False),
    "a chunk to the end": (head(*CHUNKED) + b"-1\r\n{}\r\n0\r\n\r\n" + STOLEN, False),
    "early hints": (head("HTTP/1.1 103 Early Hints", "Link: </a>") + STOLEN, False),
    "another protocol": (head("HTTP/1.1 101 Switching Protocols", "Upgrade: h2c") + STOLEN, False),
    "a status of its own": (servers.reply(999, GOOD), False),
    "a status that is no number": (b"HTTP/1.1 abc Hm\r\n\r\n" + STOLEN, False),
    "no HTTP": (b"\x16\x03\x01\x02\r\n" * 9, False),
    "an endless line": (b"HTTP/1.1 200 " + b"O" * 100_000, False),
    "endless headers": (b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 5_000, False),
    "headers that are none": (
        head("HTTP/1.1 200 OK", JSON, "what is this", "Content-Length: 2") + b"{}" + STOLEN,
        False,
    ),
    "compressed": (servers.reply(200, gzip.compress(GOOD), "application/json", "Content-Encoding: gzip"), False),
    "the answer to another request": (
        servers.reply(200, b'{"of": "somebody else"}', "application/json", "X-Request-ID: request-0002"),
        False,
    ),
    "another type": (servers.reply(200, GOOD, "text/html"), False),
    "a redirect": (servers.reply(302, GOOD, "application/json", "Location: /elsewhere"), False),
    "no JSON": (servers.reply(200, b"{'of': 1}"), False),
    "half an answer": (servers.reply(200, GOOD)[:-3], False),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_after_anything_odd_a_connection_is_not_used_again_and_nobody_gets_the_answer_of_another(name: str) -> None:
    answer, succeeds = ODDITIES[name]
    sent = threading.Event()
    peers = []

    def odd_at_first(connection: socket.socket, request: bytes) -> None:
        peers.append(connection.getpeername())
        if len(peers) > 1:
            connection.sendall(servers.reply(200, GOOD))
            return
        with contextlib.suppress(OSError):
            connection.sendall(answer)
            if "half" in name or "end of the connection" in name:
                connection.shutdown(socket.SHUT_RDWR)
        sent.set()

    with servers.peer(odd_at_first) as peer:
        context.begin_request("request-0001")
        client = Transport("auth", peer.url)
        with context.deadline_of(5.0):
            if succeeds:
                client.call("odd", "POST", "/x")
            else:
                with pytest.raises((Unavailable, InvalidReply)):
                    client.call("odd", "POST", "/x")
        assert sent.wait(5)
        assert client.call("even", "POST", "/x").json == {"of": "me"}
        context.end_request()
    assert len(set(peers)) == len(peers) == 2


def test_bytes_that_come_later_spoil_the_connection_too() -> None:
    more, sent = threading.Event(), threading.Event()
    peers = []

    def adds_later(connection: socket.socket, _: bytes) -> None:
        peers.append(connection.getpeername())
        connection.sendall(servers.reply(200, GOOD))
        if len(peers) == 1:
            assert more.wait(5)
            connection.sendall(STOLEN)
            sent.set()

    with servers.peer(adds_later) as peer:
        client = Transport("auth", peer.url)
        assert client.call("later", "POST", "/x").json == {"of": "me"}
        more.set()
        assert sent.wait(5)
        assert client.call("later", "POST", "/x").json == {"of": "me"}
    assert len(set(peers)) == 2


@pytest.mark.parametrize("size", [b"-1", b"-5", b"-ff"])
def test_a_chunk_of_less_than_nothing_is_an_invalid_reply_of_which_no_more_is_read(size: bytes) -> None:
    received: list[int] = []

    def endless(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head(*CHUNKED) + size + b"\r\n")
        with contextlib.suppress(OSError):
            while sum(received) < 64 * transport.REPLY_LIMIT:
                received.append(connection.send(b" " * 65536))

    with servers.peer(endless) as peer:
        client = Transport("auth", peer.url)
        for _ in range(5):
            with context.deadline_of(5.0), pytest.raises(InvalidReply):
                client.call("chunks", "POST", "/x")
        assert client.breaker.state is State.OPEN
    assert sum(received) < 32 * transport.REPLY_LIMIT  # what the system's buffers take


def test_a_peer_that_never_lets_anybody_in_is_given_up_after_two_attempts(peer_without_room: str) -> None:
    """Its SYN is never answered, so nothing was sent, and anything may be tried once more: 250 ms each."""
    for method in ("GET", "POST"):
        client = Transport("auth", peer_without_room)
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            client.call(f"no_room_{method}", method, "/x", payload={"a": 1} if method == "POST" else None)
        seconds = time.monotonic() - started
        assert 2 * connections.CONNECT_TIMEOUT - 0.05 < seconds < 2 * connections.CONNECT_TIMEOUT + 0.4
        assert not caught.value.sent
        assert outcomes(f"no_room_{method}", "unavailable") == 1


def test_a_peer_that_never_lets_anybody_in_has_no_more_time_than_the_deadline(peer_without_room: str) -> None:
    started = time.monotonic()
    with context.deadline_of(0.1), pytest.raises(Unavailable):
        Transport("auth", peer_without_room).call("no_room_hurried", "GET", "/x")
    assert time.monotonic() - started < 0.4


@pytest.fixture
def peer_without_room() -> Iterator[str]:
    """The address of somebody whose queue is full: the kernel answers no SYN more."""
    with servers.without_room() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("threads", [3, 4, 5, 8, 9, 16, 20, 128])
def test_a_role_that_hangs_leaves_threads_for_the_rest(settings: Any, threads: int) -> None:
    settings.THREADS = threads
    for role in ("auth", "images"):
        client = Transport(role, "http://127.0.0.1:1")
        with contextlib.ExitStack() as held:
            taken = hold_all(client._calls, held)
            if role == "images":
                taken += hold_all(client._uploads, held) + client._uploads._waiting
        assert taken < threads


def hold_all(bulkhead: Bulkhead, held: contextlib.ExitStack) -> int:
    """Takes every place of it, and says how many there were."""
    for count in itertools.count():
        try:
            held.enter_context(bulkhead.place(0.0))
        except Full:
            return count
    raise AssertionError("without an end")


def test_whoever_answers_with_pages_opens_the_circuit() -> None:
    with servers.peer(servers.answers(servers.reply(200, b"<html>", "text/html"))) as peer:
        client = Transport("auth", peer.url)
        for _ in range(5):
            with pytest.raises(InvalidReply):
                client.call("pages", "POST", "/x")
        assert client.breaker.state is State.OPEN


def test_a_page_that_refuses_the_request_at_hand_does_not() -> None:
    """A server says so itself when it finds an address too long, and people can make it long."""
    with servers.peer(servers.answers(servers.reply(414, b"<html>", "text/html"))) as peer:
        client = Transport("auth", peer.url)
        for _ in range(10):
            with pytest.raises(InvalidReply):
                client.call("refused_page", "GET", "/x")
        assert client.breaker.state is State.CLOSED
        assert len(peer.requests) == 10


def test_a_call_that_had_hardly_any_time_says_nothing_about_the_service() -> None:
    with servers.peer(servers.never_answers) as peer:
        client = Transport("auth", peer.url)
        for _ in range(6):
            with context.deadline_of(0.05), pytest.raises(Unavailable):
                client.call("hurried", "POST", "/x")
        assert client.breaker.state is State.CLOSED


def test_a_service_that_fails_half_of_its_calls_gets_a_tenth_more_and_is_asked_on() -> None:
    count = 0

    def fails_often(connection: socket.socket, request: bytes) -> None:
        nonlocal count
        count += 1
        (servers.resets if count % 2 else servers.answers(servers.reply(200, b"{}")))(connection, request)

    answered = 0
    with servers.peer(fails_often) as peer:
        client = Transport("auth", peer.url)
        for _ in range(300):
            try:
                client.call("often", "GET", "/x")
            except Unavailable:
                continue
            answered += 1
        assert 300 < len(peer.requests) <= 331
    assert answered >= 150
    assert outcomes("often", "circuit_open") == 0


def hangs_at(path: bytes) -> servers.Behaviour:
    def behave(connection: socket.socket, request: bytes) -> None:
        hangs = request.split(b" ")[1] == path
        (servers.never_answers if hangs else servers.answers(servers.reply(200, b"{}")))(connection, request)

    return behave


def test_calls_beyond_the_places_are_refused_at_once_and_uploads_have_places_of_their_own() -> None:
    callers, places = transport.THREADS, 8
    with servers.peer(hangs_at(b"/hangs")) as peer:
        client = Transport("images", peer.url)

        def call(_: int) -> tuple[float, int]:
            started = time.monotonic()
            with context.deadline_of(2.0), pytest.raises(Unavailable) as caught:
                client.call("crowded", "GET", "/hangs")
            return time.monotonic() - started, caught.value.retry_after

        with ThreadPoolExecutor(callers) as threads:
            crowd = [threads.submit(call, number) for number in range(callers)]
            while len(peer.requests) < places:
                time.sleep(0.01)
            while sum(future.done() for future in crowd) < callers - places:
                assert not all(future.done() for future in crowd)
                time.sleep(0.01)
            reply = client.call("beside", "POST", "/x", body=Body(io.BytesIO(b"picture"), 7))
            results = [future.result() for future in crowd]
    assert reply.status == 200
    assert sorted(wait for _, wait in results) == [transport.BUSY_RETRY_AFTER] * (callers - places) + [5] * places
    assert len(peer.requests) == places + 1
    assert outcomes_of("images", "crowded", "busy") == callers - places


def test_more_callers_than_places_are_all_answered_by_a_service_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_CALLS_PATIENCE", "_CALLS_HANG_AFTER"):
        monkeypatch.setattr(transport, name, 30.0)  # however slow this machine is

    def takes_its_time(connection: socket.socket, request: bytes) -> None:
        time.sleep(0.02)
        servers.answers(servers.reply(200, b"{}"))(connection, request)

    with servers.peer(takes_its_time) as peer:
        client = Transport("images", peer.url)
        with ThreadPoolExecutor(transport.THREADS) as threads:
            list(threads.map(lambda _: client.call("lively", "GET", "/x"), range(100)))
    assert outcomes_of("images", "lively", "ok") == 100


def test_the_state_of_the_circuit_is_the_worst_of_the_process() -> None:
    labels = {"dependency": "auth"}
    gc.collect()  # those of other tests
    with servers.peer(servers.answers(servers.reply(200, b"{}"))) as peer:
        healthy = Transport("auth", peer.url)
        failing = Transport("auth", peer.url)
        for _ in range(5):
            failing.breaker.failed()
        healthy.call("state", "GET", "/x")
        assert REGISTRY.get_sample_value("seawall_client_circuit_state", labels) == State.OPEN
        failing.breaker.succeeded()
        healthy.call("state", "GET", "/x")
        assert REGISTRY.get_sample_value("seawall_client_circuit_state", labels) == State.CLOSED
