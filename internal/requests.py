"""The request class of every role: text is UTF-8, and a body has to arrive."""

from __future__ import annotations

import socket
import time
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters

from internal.context import Deadline
from internal.sockets import held_to

BODY_SECONDS = 20.0  # for a body to arrive, and beyond that
BODY_RATE = 32 * 1024  # bytes a second
BODY_PAUSE = 10.0  # seconds without a byte


class BodyTooSlowError(OSError):
    """The client did not send the body that it announced in time."""


class _PatientInput:
    """The body as the server reads it, with an end to its patience: a thread waits for each body that is under way.

    The server itself has no limit for this; without one, a few clients that stop in the middle would take every thread.
    """

    def __init__(self, source: Any, connection: socket.socket, length: int) -> None:
        self._source = source
        self._connection = connection
        self._allowed = BODY_SECONDS + length / BODY_RATE
        self._until: float | None = None

    def read(self, size: int = -1) -> bytes:
        return self._within_time(self._source.read, size)

    def readline(self, size: int = -1) -> bytes:
        return self._within_time(self._source.readline, size)

    def _within_time(self, read: Any, size: int) -> bytes:
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._allowed
        remaining = self._until - now
        if remaining <= 0:
            raise BodyTooSlowError("the body did not arrive in time")
        self._connection.settimeout(min(BODY_PAUSE, remaining))
        try:
            # The source reads until it has as much as was asked for: the time for all of it counts, not only that of
            # each piece.
            with held_to(Deadline.after(remaining), stall=BODY_PAUSE):
                data: bytes = read(size)
        except TimeoutError as error:
            raise BodyTooSlowError("the client stopped in the middle of the body") from error
        return data


class Request(WSGIRequest):
    """A request whose text is UTF-8, whatever charset its Content-Type claims, and whose body must not be too slow.

    Django decodes with the codec that the client names; Python has codecs that are none for text, and with these the
    request could not even be made. JSON and forms are UTF-8 by their standards (RFC 8259, WHATWG HTML).
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        connection = environ.get("gunicorn.socket")
        length = environ.get("CONTENT_LENGTH") or "0"
        if connection is not None and length.isdecimal():
            environ["wsgi.input"] = _PatientInput(environ["wsgi.input"], connection, int(length[:12]))
        super().__init__(environ)

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
