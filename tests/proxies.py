"""A proxy on a real socket, between a client and a server, that can be told to be slow, silent, wrong or gone."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from types import MappingProxyType
from typing import Literal

Mode = Literal["pass", "hang", "drip", "cut", "reset", "truncate", "rubbish", "html", "error"]
DRIP_SECONDS = 1.0  # between two bytes
RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # SO_LINGER: at once
HEAD = b" HTTP/1.1\r\n"  # ends the first line of each request


def _reply(first_line: str, kind: str, body: bytes, *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {first_line}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() + body


# What a request gets in place of the server's answer.
REPLIES: MappingProxyType[Mode, bytes] = MappingProxyType(
    {
        "truncate": _reply("200 OK", "application/json", b'{"id": ', length=400),
        "rubbish": b"\x16\x03\x01\x00\xff\r\n" * 50,
        "html": _reply("200 OK", "text/html", b"<!doctype html><title>Welcome</title>"),
        "error": _reply("502 Bad Gateway", "text/html", b"<!doctype html><title>Bad gateway</title>"),
    }
)


class Proxy:
    """Passes bytes on to `target`, a port of the loopback address, and counts the requests (HTTP/1.1) that it gets.

    `mode` may be changed at any time, also for connections that are open: `hang` swallows what comes from either side,
    `drip` sends the client a byte at a time, `cut` closes; `reset` closes with a reset when a request comes, and the
    others answer it themselves. With `every` = n these last ones, and `hang`, hit each n-th request only, by chance.
    """

    def __init__(self, target: int) -> None:
        self.mode: Mode = "pass"
        self.every = 1
        self.requests: Counter[str] = Counter()  # by method and path, as in "GET /"
        self._counting = threading.Lock()
        self._chance = random.Random(1)  # noqa: S311 - the same faults in every run
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open = True
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._open, self.mode = False, "cut"
        self._listener.close()

    @contextlib.contextmanager
    def faulty(self, mode: Mode, *, every: int = 1) -> Iterator[None]:
        """The block runs with a fault."""
        self.every, self.mode = every, mode
        try:
            yield
        finally:
            self.every, self.mode = 1, "pass"

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(client)
            server = stack.enter_context(socket.create_connection(("127.0.0.1", self._target)))
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server, to_server=True)
            back.join()

    def _copy(self, source: socket.socket, sink: socket.socket, *, to_server: bool = False) -> None:
        is_hit = False
        with contextlib.suppress(OSError, ValueError):  # ValueError: of a socket that the other way has closed
            # No timeout of the socket: it would hold for what the other way writes to it, too.
            arrived = select.poll()
            arrived.register(source, select.POLLIN)
            while self._open and self.mode != "cut":
                if not arrived.poll(100):
                    continue
                data = source.recv(65536)
                if not data or self.mode == "cut":  # since the wait began
                    break
                if to_server and HEAD in data:
                    is_hit = self._hits(data)
                    if is_hit and not self._strike(source):
                        break
                if is_hit or (self.mode == "hang" and self.every == 1):
                    continue
                if self.mode == "drip" and not to_server:
                    self._drip(data, sink)
                else:
                    sink.sendall(data)
        for side in (source, sink):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _hits(self, head: bytes) -> bool:
        """Counts a request, and says whether the fault is meant for it."""
        with self._counting:
            self.requests[head.partition(HEAD)[0].partition(b"?")[0].decode()] += 1
            return self.mode not in {"pass", "drip", "cut"} and self._chance.randrange(self.every) == 0

    def _strike(self, client: socket.socket) -> bool:
        """Does to the request what the mode says; False if its connection is gone then."""
        if self.mode == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            return False
        if reply := REPLIES.get(self.mode):
            client.sendall(reply)
            if self.mode == "truncate":
                client.shutdown(socket.SHUT_WR)
        return True

    def _drip(self, data: bytes, sink: socket.socket) -> None:
        for byte in data:
            if self.mode != "drip":
                return
            sink.sendall(bytes([byte]))
            time.sleep(DRIP_SECONDS)


@contextlib.contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy for the length of a block."""
    between = Proxy(target)
    try:
        yield between
    finally:
        between.close()
