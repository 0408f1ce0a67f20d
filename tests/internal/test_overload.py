"""More comes than can be served: the real server refuses at once what would wait for too long, and nothing else."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from internal.problems import CATALOGUE
from internal.queueing import (
    AHEAD_LIMIT,
    BURST_WAIT,
    HEAD_SECONDS,
    QUEUE_LIMIT,
    SEND_SECONDS,
    STANDING_WAIT,
    Queue,
)
from internal.requests import BODY_SECONDS
from tests.internal.serving import (
    HALF_A_REQUEST,
    HOST,
    LOGIN,
    OTHER_HALF,
    PATIENCE,
    Client,
    Gateway,
    gateway,
    request,
)
from tests.running import until

THREADS = 2
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One worker of two threads."""
    with gateway(tmp_path_factory.mktemp("gateway") / "role", THREADS=str(THREADS)) as running:
        yield running
        running.end()


@pytest.fixture
def overloaded(served: Gateway) -> Iterator[Gateway]:
    """Every thread waits for a body, and another request for a thread, for so long that nobody else may wait."""
    with contextlib.ExitStack() as stack:
        for _ in range(THREADS):
            stack.enter_context(served.client()).send(HALF_A_REQUEST)
        waiting = stack.enter_context(served.client())
        until(lambda: _waits(waiting), "no thread is free")
        _refused_soon(served)
        yield served
    until(lambda: served.get().status == 404, "everybody is served again")


def _waits(client: Client) -> bool:
    """Sends a request that is answered at once by whoever has a thread for it; whether nobody has."""
    client.send(request())
    client.socket.settimeout(0.3)
    try:
        client.reply()
    except TimeoutError:
        return True
    return False


def _refused_soon(served: Gateway) -> None:
    """Asks again and again, each time on a connection of its own, until one of them is refused."""
    with contextlib.ExitStack() as stack:

        def refused() -> bool:
            client = stack.enter_context(served.client())
            client.socket.settimeout(0.3)
            client.send(request())
            with contextlib.suppress(TimeoutError):
                return client.reply().status == 503
            return False

        until(refused, "the queue is refused")


def test_a_refusal_is_a_problem_document_with_retry_after_and_the_id_of_the_request(overloaded: Gateway) -> None:
    answer = overloaded.get(x_request_id="asked-by-me-1")

    assert answer.status == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] == "asked-by-me-1"
    assert answer.json == {
        "type": "/api/v1/problems#busy",
        "title": CATALOGUE["busy"][1],
        "status": 503,
        "detail": "Too many people want something at this moment. Please try again in a few seconds.",
        "code": "busy",
        "request_id": "asked-by-me-1",
    }


def test_two_refusals_have_different_ids_and_a_bad_id_is_not_taken_over(overloaded: Gateway) -> None:
    answers = [overloaded.get(x_request_id="no id!"), overloaded.get(), overloaded.get()]

    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    for answer in answers:
        assert answer.json["request_id"] == answer.headers["x-request-id"] != "no id!"
        assert answer.headers.keys() == answers[0].headers.keys()
        assert {**answer.json, "request_id": ""} == {**answers[0].json, "request_id": ""}


def test_somebody_at_a_browser_gets_a_page(overloaded: Gateway) -> None:
    page = overloaded.get("/sign-in", accept="text/html,application/xhtml+xml;q=0.9")

    assert (page.status, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"] == "default-src 'none'"
    assert b"Please try again in a few seconds." in page.body
    assert page.headers["x-request-id"].encode() in page.body
    assert overloaded.get("/api/v1/profile", accept="text/html").json["code"] == "busy"


def test_a_connection_survives_refusals_and_is_served_when_there_is_room(overloaded: Gateway) -> None:
    with overloaded.client() as client:
        for _ in range(3):
            assert client.get().status == 503
        client.send(request() * 3)  # without waiting for the answers
        assert [client.reply().status for _ in range(3)] == [503] * 3
        answer = client.get(method="HEAD")
        assert (answer.status, answer.body) == (503, b"")
        assert int(answer.headers["content-length"]) > 0
        with_body = b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        client.send(with_body + request())
        assert [client.reply().status, client.reply().status] == [503, 503]


def test_who_wants_no_more_gets_the_end_of_the_connection(overloaded: Gateway) -> None:
    with overloaded.client() as client:
        answer = client.get(connection="close")
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert client.is_closed()
    with overloaded.client() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (client.reply().status, client.is_closed()) == (503, True)


@pytest.mark.parametrize("size", [100_000, 900_000])
def test_who_sends_a_long_body_reads_the_refusal_and_is_not_reset(overloaded: Gateway, size: int) -> None:
    with overloaded.client() as client:
        client.send(b"POST /api/v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        client.send(b"x" * 10_000)

        answer = client.reply()
        for _ in range(size // 10_000 - 1):
            client.send(b"x" * 10_000)

        assert (answer.status, answer.json["code"], answer.headers["connection"]) == (503, "busy", "close")
        assert client.socket.recv(1) == b""


def test_the_management_port_answers_meanwhile_and_counts_the_refusals(overloaded: Gateway) -> None:
    assert overloaded.get().status == 503
    assert overloaded.probe("/livez")[0] == 200
    assert overloaded.probe("/readyz")[0] == 200

    def counted() -> float:
        lines = overloaded.probe("/metrics")[1].decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("seawall_refused_requests_total"))

    before = counted()
    assert [overloaded.get().status for _ in range(5)] == [503] * 5
    until(lambda: counted() >= before + 5, "five more refusals are counted")


def test_who_waited_for_too_long_is_refused_in_the_end_and_may_ask_again(served: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        holding = [stack.enter_context(served.client()) for _ in range(THREADS)]
        for client in holding:
            client.send(HALF_A_REQUEST)
        waiting = stack.enter_context(served.client())
        until(lambda: _waits(waiting), "no thread is free")
        _refused_soon(served)
        for client in holding:
            client.send(OTHER_HALF)

        answer = waiting.reply()

        assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "busy", "2")
        assert waiting.get().status == 404


def test_a_crowd_that_comes_at_once_is_served_if_it_can_be_in_time(served: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in range(60)]
        for client in clients:
            client.send(request())

        assert Counter(client.reply().status for client in clients) == {404: 60}


def test_neither_a_silent_connection_nor_half_a_head_takes_a_thread(served: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(10 * THREADS):
            stack.enter_context(served.client())
            stack.enter_context(served.client()).send(b"GET / HTTP/1.1\r\nHost: 127")
        slow = stack.enter_context(served.client())
        slow.send(b"GET /api/v1/nothing HTTP/1.1\r\n")

        assert served.get().status == 404

        for byte in b"Host: 127.0.0.1\r\n\r\n":
            slow.send(bytes([byte]))
        assert slow.reply().status == 404


def test_a_head_that_does_not_arrive_is_answered_in_the_end(served: Gateway) -> None:
    with served.client() as client:
        client.send(b"GET /api/v1/nothing HTTP/1.1\r\nHost: 127")

        answer = client.reply()

        assert (answer.status, answer.json["code"], answer.headers["connection"]) == (408, "request_timeout", "close")
        assert client.is_closed()


def test_requests_follow_each_other_on_a_connection_however_they_arrive(served: Gateway) -> None:
    body = json.dumps({"email": "x", "password": ""}).encode()
    post = b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    post += b"Content-Length: %d\r\n\r\n" % len(body) + body
    with served.client() as client:
        client.send(b"\r\n" + request() + post + request() + post + request())
        assert [client.reply().status for _ in range(5)] == [404, 422, 404, 422, 404]
        for piece in (post[:20], post[20:-5], post[-5:] + request()[:9], request()[9:]):
            client.send(piece)
        assert [client.reply().status for _ in range(2)] == [422, 404]
        client.send(request(connection="close"))
        assert client.reply().headers["connection"] == "close"
        assert client.is_closed()


def test_a_request_that_comes_while_two_others_wait_is_not_forgotten(served: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        holding = [stack.enter_context(served.client()) for _ in range(THREADS)]
        for client in holding:
            client.send(HALF_A_REQUEST)
        first = stack.enter_context(served.client())
        until(lambda: _waits(first), "no thread is free")
        waiting = stack.enter_context(served.client())
        waiting.send(request() * 2)
        waiting.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.reply()
        waiting.send(request())
        ended = stack.enter_context(served.client())
        ended.send(request() * 2)
        ended.socket.shutdown(socket.SHUT_WR)
        for client in holding:
            client.send(OTHER_HALF)

        waiting.socket.settimeout(PATIENCE)
        assert {waiting.reply().status for _ in range(3)} <= {404, 503}
        assert {ended.reply().status for _ in range(2)} <= {404, 503}
        assert ended.is_closed()


def test_empty_lines_between_requests_are_nothing(served: Gateway) -> None:
    body = b'{"email": "x", "password": ""}'
    post = b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    post += b"Content-Length: %d\r\n\r\n" % len(body) + body
    with served.client() as client:
        for empty in (b"\r\n", b"\r\n\r\n"):
            client.send(post + empty)
            assert client.reply().status == 422
            assert client.get().status == 404
        client.send(post + b"\r\n\r\n" + request()[:9])
        assert client.reply().status == 422
        client.send(request()[9:])
        assert client.reply().status == 404


def test_who_sends_nothing_but_empty_lines_is_sent_away(served: Gateway) -> None:
    with served.client() as client:
        client.send(b"\r\n" * 1000)
        assert (client.reply().status, client.is_closed()) == (400, True)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: %020d",
        b"Content-Length: 0\r\nContent-Length: %d",
        b"Content-Length : %d",
        b"Content-Length: 0\r\n %d",
        b"Transfer-Encoding : chunked, %d",
        b"X: x\nContent-Length: %d",
        b"X: x\rContent-Length: %d",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_where_the_end_of_a_refused_request_is_not_clear_nothing_behind_it_is_a_request(
    overloaded: Gateway, method: bytes, fields: bytes
) -> None:
    behind = request(x_request_id="behind-it")
    with overloaded.client() as client:
        client.send(method + b" /api/v1/login HTTP/1.1\r\nHost: x\r\n" + fields % len(behind) + b"\r\n\r\n" + behind)

        answer = client.reply()

        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert client.is_closed()


def test_who_sends_without_a_pause_keeps_nobody_else_from_an_answer(overloaded: Gateway) -> None:
    ended = threading.Event()
    with overloaded.client() as client:

        def send() -> None:
            with contextlib.suppress(OSError):
                while not ended.is_set():
                    client.send(request() * 1000)

        def read() -> None:
            with contextlib.suppress(OSError):
                while client.socket.recv(1024 * 1024):
                    pass

        threads = [threading.Thread(target=work) for work in (send, read)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                with Client(overloaded.port, timeout=2) as other:
                    assert other.get().status == 503
        finally:
            ended.set()
            client.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: 127", LOGIN % 1000 + b"\r\n{"])
def test_connections_without_a_request_make_room_for_those_who_ask(served: Gateway, begun: bytes) -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(served.client())
        first.send(begun)
        for _ in range(1005):  # gunicorn's worker_connections, and some
            stack.enter_context(served.client()).send(begun)

        with Client(served.port, timeout=HEAD_SECONDS / 2) as other:
            assert other.get().status == 404
        if begun:
            assert first.reply().status == 408
        assert first.is_closed()


@contextlib.contextmanager
def dripping(clients: list[Client]) -> Iterator[None]:
    """Each of them sends one byte after the other, until the end of the block."""
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.25):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(b" ")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


DRIPPING = {
    "of a request without one": request(content_length="1000"),
    "of JSON": LOGIN % 1000 + b"\r\n{",
    "of JSON that is too long": LOGIN % 134_000_000 + b"\r\n{",
    "of JSON that the client asks whether to send": LOGIN % 1000 + b"Expect: 100-continue\r\n\r\n{",
    "of an upload": request("/api/v1/register", "POST", content_type=MULTIPART, content_length="134000000"),
    "of which not all is left unread": request(content_length="200000") + b" " * 70_000,
}


@pytest.mark.parametrize("begun", DRIPPING.values(), ids=DRIPPING.keys())
def test_a_body_that_drips_keeps_nobody_waiting(served: Gateway, begun: bytes) -> None:
    assert served.get().status == 404  # when the connections of the test before are gone
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in range(2 * THREADS)]
        for client in clients:
            client.send(begun)
        with dripping(clients):
            for _ in range(8):
                with Client(served.port, timeout=2) as other:
                    assert other.get().status == 404
                time.sleep(0.25)  # what drips goes on dripping


def test_a_body_that_drips_is_answered_in_the_end(served: Gateway) -> None:
    late = "asked-by-me-2"
    page = {"accept": "text/html", "content_type": FORM, "content_length": "1000", "x_request_id": late}
    with served.client() as program, served.client() as browser:
        program.send(LOGIN % 1000 + b"\r\n{")
        browser.send(request("/sign-in", "POST", **page) + b"email=")
        program.socket.settimeout(BODY_SECONDS + 10)
        browser.socket.settimeout(BODY_SECONDS + 10)
        with dripping([program, browser]):
            answer, shown = program.reply(), browser.reply()

        assert (answer.status, answer.json["code"], answer.headers["connection"]) == (408, "request_timeout", "close")
        assert (shown.status, shown.headers["x-request-id"]) == (408, late)
        assert shown.headers["content-type"] == "text/html; charset=utf-8"


def test_json_that_is_too_long_is_refused_unread(served: Gateway) -> None:
    with served.client() as client:
        client.send(LOGIN % 134_000_000 + b"\r\n{" + b" " * AHEAD_LIMIT)

        answer = client.reply()

        assert (answer.status, answer.json["code"], answer.headers["connection"]) == (413, "payload_too_large", "close")
        assert client.is_closed()


def test_a_body_that_is_left_unread_keeps_its_connection_if_it_has_arrived(served: Gateway) -> None:
    with served.client() as client:
        for size in (1, 1000, 60_000):
            client.send(request(content_length=str(size)) + b"x" * (size - 1))
            client.send(b"x")
            answer = client.reply()
            assert (answer.status, answer.headers["connection"]) == (404, "keep-alive")
        client.send(request(content_length="200000") + b"x" * 199_000)
        answer = client.reply()
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        client.send(b"x" * 1000)
        assert client.is_closed()


def test_who_asks_whether_to_send_a_body_is_told_once(served: Gateway) -> None:
    body = b'{"email": "x", "password": ""}'
    with served.client() as client:
        for _ in range(2):
            client.send(LOGIN % len(body) + b"Expect: 100-continue\r\n\r\n")
            assert client.socket.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(body)
            assert client.reply().status == 422
        client.send(LOGIN % len(body) + b"Expect: 100-continue\r\n\r\n" + body)
        assert client.reply().status == 422
        client.send(LOGIN % 200_000_000 + b"Expect: 100-continue\r\n\r\n")
        assert client.reply().status == 413


def test_a_body_that_ends_too_early_is_answered(served: Gateway) -> None:
    with served.client() as client:
        client.send(LOGIN % 1000 + b"\r\n{")
        client.socket.shutdown(socket.SHUT_WR)

        assert client.reply().json["code"] == "malformed_request"
        assert client.is_closed()


LARGE_FILE = "/static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js.map"  # more than the system keeps


@pytest.mark.parametrize("pause", [60.0, 1.0], ids=["nothing", "a little now and then"])
def test_who_takes_too_little_of_an_answer_does_not_keep_a_thread(served: Gateway, pause: float) -> None:
    over = threading.Event()
    readers = [socket.socket() for _ in range(THREADS)]

    def read() -> None:
        while not over.wait(pause):
            for reader in readers:
                reader.recv(1500)

    thread = threading.Thread(target=read)
    with contextlib.ExitStack() as stack:
        for reader in readers:
            stack.enter_context(reader)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            reader.connect((HOST, served.port))
            reader.sendall(request(LARGE_FILE))
        stack.callback(thread.join)
        stack.callback(over.set)
        thread.start()
        waiting = stack.enter_context(served.client())
        until(lambda: _waits(waiting), "no thread is free")

        until(lambda: served.get().status == 404, "the threads are free again", SEND_SECONDS + 10)


def test_who_takes_an_answer_slowly_gets_all_of_it(served: Gateway) -> None:
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        reader.connect((HOST, served.port))
        reader.sendall(request(LARGE_FILE, connection="close"))
        started, received = time.monotonic(), bytearray()
        while data := reader.recv(32 * 1024):
            received += data
            time.sleep(0.1)
    head, _, body = bytes(received).partition(b"\r\n\r\n")

    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert time.monotonic() - started > SEND_SECONDS


FAILING_ACCEPT = """
import errno
import os
import socket

accept = socket.socket.accept
failures = [errno.EPROTO, errno.ENOBUFS, errno.ENETDOWN, errno.EPERM, errno.ENOMEM, errno.EHOSTUNREACH] * 3

def fails_at_first(listener):
    if failures:
        number = failures.pop()
        raise OSError(number, os.strerror(number))
    return accept(listener)

socket.socket.accept = fails_at_first
"""


def test_a_connection_that_is_lost_before_it_is_taken_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAILING_ACCEPT)
    with gateway(tmp_path / "role", PYTHONPATH=str(tmp_path)) as served:
        assert [served.get().status for _ in range(3)] == [404] * 3
        served.end()
        assert len(served.workers()) == 1
        assert "Traceback" not in served.log.read_text()


def test_a_body_that_drips_does_not_keep_a_thread(served: Gateway) -> None:
    with served.client() as client:
        client.send(HALF_A_REQUEST)
        started = time.monotonic()
        client.socket.settimeout(2)
        answer = None
        while answer is None and time.monotonic() - started < BODY_SECONDS + 10:
            with contextlib.suppress(TimeoutError):
                answer = client.reply()
            if answer is None:
                client.send(b" ")

        assert answer is not None
        assert (answer.status, answer.json["code"]) == (408, "request_timeout")


def test_a_body_arrives_whole_however_it_is_cut(served: Gateway) -> None:
    with served.client() as client:
        for cut in range(5):
            client.send(HALF_A_REQUEST + OTHER_HALF[:cut])
            client.send(OTHER_HALF[cut:])
            assert client.reply().status == 422
            assert client.get().status == 404


def test_many_connections_at_the_same_time_lose_no_request(served: Gateway) -> None:
    def visit(_: int) -> Counter[int]:
        seen: Counter[int] = Counter()
        for number in range(6):
            with served.client() as client:
                for _ in range(number):
                    seen[client.get().status] += 1
        return seen

    with ThreadPoolExecutor(12) as threads:
        seen = sum(threads.map(visit, range(24)), Counter())

    assert seen.total() == 24 * 15
    assert set(seen) <= {404, 503}
    assert seen[404] > 0


# The judgement, on a clock of its own.


class Time:
    """A clock that moves when told, and a queue that looks at it."""

    def __init__(self, at_work: float = math.inf) -> None:
        self.now = 1000.0
        self.queue = Queue(clock=lambda: self.now, at_work=at_work)

    def arrive(self, count: int = 1) -> int:
        """So many requests at this moment; how many are refused."""
        refused = 0
        for _ in range(count):
            if self.queue.refuses():
                refused += 1
            else:
                self.queue.put(cast(Any, SimpleNamespace()))
        return refused

    def serve(self, count: int) -> None:
        """Threads take so many."""
        for _ in range(count):
            assert self.queue.take() is not None

    def pass_on(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds


def test_a_burst_after_a_quiet_time_waits() -> None:
    time = Time()
    assert time.arrive(200) == 0
    time.pass_on(BURST_WAIT - 0.01)
    assert time.arrive() == 0


def test_nobody_joins_a_queue_in_which_nothing_moves() -> None:
    time = Time()
    time.arrive(2)
    time.pass_on(BURST_WAIT + 0.01)
    assert time.arrive() == 1


def test_under_lasting_overload_the_wait_is_short_and_the_threads_never_lack_work() -> None:
    time = Time()
    served, refused, waits = 0, 0, []
    for step in range(1000):  # ten seconds in which 300 requests a second come and 100 can be served
        refused += time.arrive(3)
        time.pass_on(0.01)
        oldest = time.queue.take()
        assert oldest is not None, "a thread has nothing to do"
        served += 1
        if step > 500:
            waits.append(time.now - oldest.waiting_since)

    assert (served, refused) == (1000, pytest.approx(2000, abs=100))
    assert max(waits) <= STANDING_WAIT * 1.5


def test_what_was_known_of_a_slow_time_is_forgotten_after_it() -> None:
    time = Time()
    time.arrive(20)
    for _ in range(20):
        time.pass_on(0.5)
        time.arrive()
        time.serve(1)
    time.serve(len(time.queue))
    time.pass_on(0.1)

    assert time.arrive(150) == 0


def test_a_queue_has_an_end() -> None:
    assert Time().arrive(QUEUE_LIMIT + 30) == 30


class Crowd:
    """Four threads that take from a queue of which one at a time may begin, and what each of them is told to do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queue = Queue(clock=lambda: self.now, at_work=1)
        self.begun = self.ended = 0
        self.may_wait, self.may_end = threading.Semaphore(0), threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for _ in range(100):
            self.may_wait.release()
            self.may_end.release()
        until(lambda: len(self.queue) == 0, "all have begun")
        self.queue.end(len(self._threads))
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _work(self) -> None:
        while self.queue.take():
            self.begun += 1
            self.may_wait.acquire()
            with contextlib.suppress(ValueError), self.queue.waiting():
                self.may_end.acquire()
                raise ValueError
            self.ended += 1

    def put(self, count: int) -> None:
        for _ in range(count):
            self.queue.put(cast("Any", SimpleNamespace()))


def test_another_request_begins_when_the_one_before_waits_and_not_sooner() -> None:
    with Crowd() as crowd:
        crowd.put(4)
        until(lambda: crowd.begun == 1, "one has begun")
        assert len(crowd.queue) == 3
        crowd.may_wait.release()
        until(lambda: crowd.begun == 2, "the next one has begun, while the first waits")
        assert len(crowd.queue) == 2
        crowd.may_end.release()
        until(lambda: crowd.ended == 1, "the first has ended")
        assert len(crowd.queue) == 2, "it has taken the turn of the second"
        crowd.may_wait.release()
        until(lambda: crowd.begun == 3, "and the third")
        assert len(crowd.queue) == 1


def test_a_thread_that_has_done_its_request_begins_the_next_one_and_wakes_nobody_for_it() -> None:
    time = Time(at_work=1)
    assert time.arrive(2) == 0
    time.serve(2)  # by this thread alone: the second one has no turn but that of the first
    assert len(time.queue) == 0


def test_who_waits_for_what_is_not_known_keeps_the_others_back_only_for_a_moment() -> None:
    with Crowd() as crowd:
        crowd.put(3)
        until(lambda: crowd.begun == 1, "one has begun")
        assert crowd.queue.urge()
        assert len(crowd.queue) == 2
        crowd.now += 0.03
        assert crowd.queue.urge()
        until(lambda: crowd.begun == 2, "another one has begun")
        crowd.may_wait.release()
        until(lambda: crowd.begun == 3, "and the last, without being urged")


def test_while_every_thread_waits_there_is_a_turn_for_one_request_and_no_more() -> None:
    with Crowd() as crowd:
        crowd.may_wait.release(4)
        crowd.put(14)
        until(lambda: crowd.begun == 4, "every thread has begun, and waits")
        for _ in range(10):
            crowd.now += 0.03
            assert crowd.queue.urge()
        crowd.may_end.release()
        until(lambda: crowd.begun == 5, "the next one has begun")
        assert len(crowd.queue) == 9
