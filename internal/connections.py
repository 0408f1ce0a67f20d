"""Connections to one role. One is used again only after an exchange in which nothing whatever was odd."""

from __future__ import annotations

import http.client
import io
import select
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from internal.context import Deadline
from internal.names import Names
from internal.sockets import DeadlineSocket, held_to

CONNECT_TIMEOUT = 0.25  # seconds, finding the address included
ADDRESSES = 3  # of a name with several, that are tried within that time
# A connection that idled longer is not used again. Gunicorn keeps idle ones for 100 s, and for 2 s once it has been
# told to stop: so none is closed by it just when a call is sent.
IDLE_SECONDS = 1.5

_LONG_AGO = Deadline(0.0)


class NotConnected(OSError):
    """There is no connection, so nothing was sent."""


class _Stream(io.BufferedReader):
    """What comes in. Closed at the end of an answer, it knows whether more has come than belongs to it."""

    has_surplus = False

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file, but never to its end: http.client takes the length of a chunk as it comes, below zero too."""
        if size is None or size < 0:
            raise http.client.HTTPException(f"a length of {size}")
        return super().read(size)

    def close(self) -> None:
        if not self.closed:
            with held_to(_LONG_AGO), suppress(OSError, ValueError):  # looks into the buffer, and does not read
                self.has_surplus = bool(self.peek(1))
        super().close()


class _Socket(DeadlineSocket):
    stream: _Stream | None = None

    def makefile(self, *_: Any, **__: Any) -> Any:
        """As http.client asks for it: binary and buffered."""
        self.stream = _Stream(super().makefile("rb", 0))
        return self.stream


class Connection(http.client.HTTPConnection):
    """A connection to the role. It is opened with a deadline, and never by itself."""

    auto_open = 0
    sock: socket.socket | None
    last_used = 0.0

    def __init__(self, host: str, names: Names) -> None:
        super().__init__(host, names.port, blocksize=64 * 1024)
        self._names = names

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self.sock is not None

    def open(self, seconds: float) -> None:
        """Connects to the first address that answers, within CONNECT_TIMEOUT and `seconds`.

        Raises:
            NotConnected: none does; the cause is what the last one said, if one was asked.
        """
        until = time.monotonic() + min(CONNECT_TIMEOUT, seconds)
        try:
            addresses = self._names.addresses(until - time.monotonic())[:ADDRESSES]
        except OSError as error:
            raise NotConnected(str(error)) from None
        fault: OSError | None = None
        for number, (family, address) in enumerate(addresses):
            left = (until - time.monotonic()) / (len(addresses) - number)
            if left <= 0:
                break
            sock = _Socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(left)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                fault = error
            else:
                self.sock = sock
                return
        raise NotConnected(type(fault).__name__ if fault else "no time was left") from fault

    def send_call(self, method: str, target: str, content: Any, headers: dict[str, str]) -> bool:
        """Sends a request. False if the other side did not want all of it: it may have answered all the same."""
        try:
            self.request(method, target, body=content, headers=headers)
        except BrokenPipeError:
            return False
        return True

    def is_usable(self, now: float) -> bool:
        """Whether it has not idled for too long, and nothing has come that nobody asked for: an end, or more bytes."""
        if self.sock is None or now - self.last_used > IDLE_SECONDS:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        return not poll.poll(0)

    def ended_cleanly(self) -> bool:
        """Whether the last answer was read to its end, and nothing came behind it."""
        stream = self.sock.stream if isinstance(self.sock, _Socket) else None
        return stream is not None and stream.closed and not stream.has_surplus


class Connections:
    """The idle connections of this process to one role, the last used first.

    Args:
        size: how many are kept.
    """

    def __init__(self, host: str, port: int, *, size: int) -> None:
        self._host = host
        self._names = Names(host, port)
        self._size = size
        self._lock = threading.Lock()
        self._idle: deque[Connection] = deque()
        weakref.finalize(self, _close_all, self._idle)

    def take(self) -> Connection:
        """A connection that can be used, or one that is still to be opened."""
        now = time.monotonic()
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return Connection(self._host, self._names)
            if connection.is_usable(now):
                return connection
            connection.close()

    def give_back(self, connection: Connection) -> None:
        """Keeps a connection for the next call."""
        connection.last_used = now = time.monotonic()
        surplus = []
        with self._lock:
            self._idle.append(connection)
            while len(self._idle) > self._size or now - self._idle[0].last_used > IDLE_SECONDS:
                surplus.append(self._idle.popleft())
        _close_all(surplus)


def _close_all(connections: Iterable[Connection]) -> None:
    for connection in connections:
        connection.close()
