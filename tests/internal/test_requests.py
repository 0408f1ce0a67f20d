"""A request is made whatever its Content-Type claims; its body must arrive, and its answer be taken, in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.http import UnreadablePostError
from django.test import RequestFactory
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader

from internal import problems, requests
from internal.requests import Request
from internal.sockets import ClientSocket


@pytest.mark.parametrize("charset", ["base64", "rot13", "hex", "utf-16", "no-such-charset", "\x00"])
def test_a_charset_that_is_none_for_text_does_not_keep_a_request_from_being_read(charset: str) -> None:
    environ = RequestFactory().get("/?name=%C3%A9").environ | {"CONTENT_TYPE": f"text/plain; charset={charset}"}
    request = Request(environ)
    assert request.GET["name"] == "é"
    assert request.content_type == "text/plain"


@pytest.mark.parametrize("charset", ["utf-7", "utf-16", "latin-1", "rot13"])
def test_a_form_is_read_as_utf_8_whatever_charset_it_claims(charset: str) -> None:
    form = f"application/x-www-form-urlencoded; charset={charset}"
    environ = RequestFactory().generic("POST", "/", b"name=Zo%C3%AB&note=%2BADw-", form).environ
    assert Request(environ).POST.dict() == {"name": "Zoë", "note": "+ADw-"}


@pytest.fixture
def line() -> Iterator[tuple[ClientSocket, socket.socket]]:
    """The server's end of a connection, and the client's."""
    ours, theirs = socket.socketpair()
    with ClientSocket(ours, seconds=0.5, rate=100_000) as server, theirs:
        yield server, theirs


def with_body(connection: ClientSocket, length: int) -> Request:
    """A request whose body comes over the connection."""
    body = {"gunicorn.socket": connection, "wsgi.input": Body(LengthReader(SocketUnreader(connection), length))}
    return Request(RequestFactory().post("/").environ | body | {"CONTENT_LENGTH": str(length)})


@pytest.mark.parametrize("dribbles", [False, True], ids=["silent", "dribbling"])
def test_a_body_that_does_not_arrive_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, line: tuple[ClientSocket, socket.socket], dribbles: bool
) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(requests, "BODY_PAUSE", 5.0 if dribbles else 0.1)
    ours, theirs = line
    theirs.sendall(b"four")
    request = with_body(ours, 1_000_000_000)
    over = threading.Event()

    def dribble() -> None:
        while not over.wait(0.05):
            theirs.sendall(b"x")

    dribbling = threading.Thread(target=dribble)
    if dribbles:
        dribbling.start()
    started = time.monotonic()
    try:
        with pytest.raises(UnreadablePostError) as raised:
            request.read()  # all of it at once: what it has announced must not count
        with pytest.raises(UnreadablePostError):
            request.read()
    finally:
        over.set()
        if dribbles:
            dribbling.join()
    problem = problems.problem_of(raised.value)

    assert (problem.status, problem.code) == (408, "request_timeout")
    assert time.monotonic() - started < 3


def test_a_body_that_keeps_to_the_rate_arrives_however_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, line: tuple[ClientSocket, socket.socket]
) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(requests, "BODY_RATE", 10_000)
    ours, theirs = line
    request = with_body(ours, 12_000)

    def send() -> None:
        for _ in range(12):
            theirs.sendall(b"x" * 1000)
            time.sleep(0.06)

    sending = threading.Thread(target=send)
    sending.start()
    started = time.monotonic()
    try:
        assert request.read() == b"x" * 12_000
    finally:
        sending.join()
    assert time.monotonic() - started > 0.6  # twice what it may be late


def test_what_a_role_does_between_two_pieces_of_a_body_is_not_held_against_the_client(
    monkeypatch: pytest.MonkeyPatch, line: tuple[ClientSocket, socket.socket]
) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.3)
    ours, theirs = line
    request = with_body(ours, 4000)
    for piece in (b"a" * 2000, b"b" * 2000):
        theirs.sendall(piece)
        assert request.read(2000) == piece
        time.sleep(0.5)


# Answers.

ANSWER = b"x" * 3_000_000  # more than the system keeps


@pytest.fixture(params=["bytes", "file"])
def send(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[ClientSocket], None]:
    """Sends ANSWER."""
    path = tmp_path / "answer"
    path.write_bytes(b"before" + ANSWER + b"after")

    def of_file(connection: ClientSocket) -> None:
        with path.open("rb") as file:
            assert connection.sendfile(file, 6, len(ANSWER)) == len(ANSWER)

    return of_file if request.param == "file" else lambda connection: connection.sendall(ANSWER)


@pytest.fixture
def tcp_line() -> Iterator[tuple[ClientSocket, socket.socket]]:
    """A connection on which the client's system keeps little for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        with ClientSocket(ours, seconds=0.5, rate=150_000) as server:
            yield server, theirs


def read_all(connection: socket.socket, *, piece: int = 65536, pause: float = 0.0) -> bytes:
    """What comes until the end, so many bytes at a time."""
    found = bytearray()
    while data := connection.recv(piece):
        found += data
        time.sleep(pause)
    return bytes(found)


def test_a_client_that_takes_nothing_ends_the_answer(
    tcp_line: tuple[ClientSocket, socket.socket], send: Callable[[ClientSocket], None]
) -> None:
    with pytest.raises(TimeoutError):
        send(tcp_line[0])


def test_a_client_that_takes_a_little_now_and_then_ends_the_answer(
    tcp_line: tuple[ClientSocket, socket.socket], send: Callable[[ClientSocket], None]
) -> None:
    ours, theirs = tcp_line
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(read_all, theirs, piece=1000, pause=0.02)  # 50 kB a second
        started = time.monotonic()
        with ours, pytest.raises(TimeoutError):
            send(ours)
        assert time.monotonic() - started < 10
        assert reading.result() in ANSWER


def test_a_client_that_keeps_to_the_rate_gets_the_answer_however_long_it_takes(
    tcp_line: tuple[ClientSocket, socket.socket], send: Callable[[ClientSocket], None]
) -> None:
    ours, theirs = tcp_line
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(read_all, theirs, pause=0.005)
        started = time.monotonic()
        with ours:
            send(ours)
        took = time.monotonic() - started
        assert reading.result() == ANSWER
    assert took > 0.5


def test_the_waits_of_each_answer_are_counted_for_themselves(tcp_line: tuple[ClientSocket, socket.socket]) -> None:
    ours, theirs = tcp_line

    def read() -> bytes:
        found = bytearray()
        while len(found) < 3 * len(ANSWER):
            if len(found) % len(ANSWER) == 0:
                time.sleep(0.4)
            found += theirs.recv(min(65536, len(ANSWER) - len(found) % len(ANSWER)))
        return bytes(found)

    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(read)
        with ours:
            for _ in range(3):
                ours.begin_answer()
                ours.sendall(ANSWER)
            assert reading.result() == 3 * ANSWER
