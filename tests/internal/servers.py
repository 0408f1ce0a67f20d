"""Peers on real sockets that answer as the tests want: well, badly, slowly, or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

Behaviour = Callable[[socket.socket, bytes], None]


class Peer:
    """A TCP server on the loopback address that reads one request a connection at a time and then misbehaves."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._open = False
        self._listener.close()

    def _accept(self) -> None:
        while self._open:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            while request := _read_request(connection):
                self.requests.append(request)
                self.behaviour(connection, request)


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def reply(status: int, body: bytes, content_type: str = "application/json", *headers: str) -> bytes:
    """One HTTP/1.1 answer."""
    lines = [
        f"HTTP/1.1 {status} Reason",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


def answers(*replies: bytes) -> Behaviour:
    """Answers with the replies in turn, the last one for ever."""
    remaining = list(replies)

    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(remaining.pop(0) if len(remaining) > 1 else remaining[0])

    return behave


def never_answers(connection: socket.socket, _: bytes) -> None:
    """Accepts, reads, and is silent until the other side gives up."""
    connection.recv(1)


def drips(connection: socket.socket, _: bytes) -> None:
    """Answers one byte every 0.1 s: each read is in time, the whole never is."""
    for byte in reply(200, b"{}" + b" " * 500):
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def closes_in_the_body(connection: socket.socket, _: bytes) -> None:
    """Promises more than it sends."""
    connection.sendall(reply(200, b'{"a": 1}')[:-4])
    connection.shutdown(socket.SHUT_RDWR)


def resets(connection: socket.socket, _: bytes) -> None:
    """Closes with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


@contextlib.contextmanager
def peer(behaviour: Behaviour) -> Iterator[Peer]:
    """A peer for the length of a block."""
    server = Peer(behaviour)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def without_room() -> Iterator[int]:
    """A port of the loopback address where a SYN is never answered: the queue is full, and nobody accepts."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.1)
        yield listener.getsockname()[1]
