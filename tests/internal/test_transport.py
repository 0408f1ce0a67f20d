"""The client against peers that misbehave, on real sockets."""

from __future__ import annotations

import io
import json
import socket
import time

import pytest
from prometheus_client import REGISTRY

from internal import context, signing
from internal.breaker import State
from internal.errors import InvalidReply, Rejected, Unavailable
from internal.keys import NamedKey
from internal.problems import FieldError, Problem
from internal.transport import Body, Transport
from tests.internal import servers

KEYS = (NamedKey("new", b"n" * 32), NamedKey("old", b"o" * 32))


def outcomes(operation: str, outcome: str) -> float:
    labels = {"dependency": "auth", "operation": operation, "outcome": outcome}
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
