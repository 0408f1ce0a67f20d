"""Sockets that hold to a deadline. Timeouts of urllib3 are for each read or write: a body that drips outlives them."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from internal.context import Deadline

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_held: ContextVar[tuple[Deadline, float] | None] = ContextVar("held", default=None)


@contextmanager
def held_to(deadline: Deadline, *, stall: float = math.inf) -> Iterator[None]:
    """Holds every DeadlineSocket that the block uses to the deadline, and each of its waits to `stall` seconds."""
    mark = _held.set((deadline, stall))
    try:
        yield
    finally:
        _held.reset(mark)


def _allow(connection: socket.socket) -> None:
    held = _held.get()
    if held is not None:
        deadline, stall = held
        remaining = deadline.remaining()
        if remaining <= 0:
            raise TimeoutError("the deadline has passed")
        connection.settimeout(min(remaining, stall))


class DeadlineSocket(socket.socket):
    """A socket of which no read or write waits past the deadline of the block that it is used in."""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As of any socket. Raises TimeoutError."""
        _allow(self)
        return super().recv(bufsize, flags)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0, /) -> int:
        """As of any socket. Raises TimeoutError."""
        _allow(self)
        return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """As of any socket. Raises TimeoutError."""
        _allow(self)
        super().sendall(data, flags)


class DeadlineTLSSocket(ssl.SSLSocket):
    """The same over TLS: the `sslsocket_class` of an SSLContext."""

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """As of any socket. Raises TimeoutError."""
        _allow(self)
        return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """As of any socket. Raises TimeoutError."""
        _allow(self)
        super().sendall(data, flags)
