"""Sockets that hold to a deadline. Timeouts of urllib3 are for each read or write: a body that drips outlives them."""

from __future__ import annotations

import ctypes
import fcntl
import math
import os
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, TYPE_CHECKING, Any, Protocol

from internal import turns

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_SMALL = 16 * 1024  # bytes

# send(2) where it does not wait, made with the interpreter's lock held: a thread that gives it up for some microseconds
# gets it back when others have computed for milliseconds, and each such change costs all of them.
_send = ctypes.PyDLL(None, use_errno=True).send
_send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
_send.restype = ctypes.c_ssize_t
_LOOK_AGAIN = 1.0  # seconds; with a large buffer the system tells late that some of it has become free


class Limit(Protocol):
    """How long may still be waited."""

    def remaining(self) -> float:
        """Seconds; zero or less when it is over."""


_held: ContextVar[tuple[Limit, float] | None] = ContextVar("held", default=None)


@contextmanager
def held_to(deadline: Limit, *, stall: float = math.inf) -> Iterator[None]:
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


class ClientSocket(DeadlineSocket):
    """The server's end of a connection, which no client can make a thread wait at for longer than it is worth.

    While an answer is sent its bytes must be taken at `rate` or faster, but for `seconds`, and none of its waits may
    be longer than these. What counts is what the client has acknowledged, not what the system keeps for it; and only
    the time in which there is something to wait for.

    Args:
        connection: is taken over.
        seconds: of each answer.
        rate: bytes a second.
    """

    def __init__(self, connection: socket.socket, *, seconds: float, rate: float) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self.received = 0  # bytes
        self._seconds = seconds
        self._rate = rate
        self.begin_answer()

    def begin_answer(self) -> None:
        """The waits of another answer are counted from now on."""
        self._waited = self._stalled = 0.0
        self._taken = 0

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As of any DeadlineSocket."""
        with turns.waiting():
            data = super().recv(bufsize, flags)
        self.received += len(data)
        return data

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """As of any socket. Raises TimeoutError."""
        self.setblocking(True)  # it may be otherwise since a body was read
        flags |= socket.MSG_DONTWAIT  # so that an answer for which there is room needs no other system call
        view = memoryview(data)
        self._give(len(view), lambda done: self._send(view[done:], flags))

    def settimeout(self, value: float | None, /) -> None:
        """As of any socket; without a system call if that is what it has."""
        if value != self.gettimeout():
            super().settimeout(value)

    def setblocking(self, flag: bool, /) -> None:
        """The same."""
        self.settimeout(None if flag else 0.0)

    def _send(self, data: memoryview, flags: int) -> int:
        if len(data) > _SMALL:
            return self.send(data, flags)
        sent: int = _send(self.fileno(), bytes(data), len(data), flags | socket.MSG_NOSIGNAL)
        if sent < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))  # as BlockingIOError, BrokenPipeError …
        return sent

    def sendfile(  # type: ignore[override]  # other sockets also send what is no file
        self, file: IO[Any], offset: int = 0, count: int | None = None
    ) -> int:
        """As of any socket. Raises TimeoutError."""
        number = file.fileno()
        size = os.fstat(number).st_size - offset if count is None else count
        self.setblocking(False)
        try:
            return self._give(size, lambda done: os.sendfile(self.fileno(), number, offset + done, size - done))
        finally:
            self.setblocking(True)

    def _give(self, size: int, give: Callable[[int], int]) -> int:
        """Calls `give` with what has been sent until that is everything; how many bytes were sent."""
        done = 0
        while done < size:
            try:
                sent = give(done)
            except BlockingIOError:
                self._wait()
                continue
            if sent == 0:  # the file has become shorter
                break
            done += sent
        return done

    def _wait(self) -> None:
        """Waits until there may be room for more."""
        poller = select.poll()
        poller.register(self, select.POLLOUT)
        before, started = self._outstanding(), time.monotonic()
        with turns.waiting():
            poller.poll(_LOOK_AGAIN * 1000)
        taken, waited = before - self._outstanding(), time.monotonic() - started
        self._taken += taken
        self._waited += waited
        self._stalled = 0.0 if taken else self._stalled + waited
        if self._stalled > self._seconds or self._waited > self._seconds + self._taken / self._rate:
            raise TimeoutError("the client does not take the answer")

    def _outstanding(self) -> int:
        """Bytes that were sent and not acknowledged."""
        count: int = struct.unpack("i", fcntl.ioctl(self, termios.TIOCOUTQ, bytes(4)))[0]
        return count


class Together:
    """What an answer is sent to whose head and first bytes of a body are to go as one: half the calls and packets.

    The first thing that is sent is the head. It waits for the second, which must come.
    """

    def __init__(self, connection: ClientSocket) -> None:
        self._connection = connection
        self._head: bytes | None = None

    def sendall(self, data: bytes) -> None:
        """As of a ClientSocket."""
        if self._head is None:
            self._head = data
            return
        head, self._head = self._head, b""
        self._connection.sendall(head + data if head else data)

    def sendfile(self, file: IO[Any], offset: int = 0, count: int | None = None) -> int:
        """As of a ClientSocket."""
        if self._head:
            self._connection.sendall(self._head, socket.MSG_MORE)
        self._head = b""
        return self._connection.sendfile(file, offset, count)


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
