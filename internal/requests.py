"""The request class of every role: text is UTF-8, and a body has to arrive."""

from __future__ import annotations

import math
import time
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters

from internal.sockets import ClientSocket, held_to

BODY_RATE = 32 * 1024  # bytes a second, from the beginning on
BODY_SECONDS = 20.0  # by which a body may be late
BODY_PAUSE = 10.0  # seconds without a byte


class BodyTooSlowError(OSError):
    """The client did not send the body that it announced in time."""


class _PatientInput:
    """The body as the server reads it, with an end to its patience: a thread waits for each body that is under way.

    The server itself has no limit for this; without one, a few clients that stop in the middle would take every thread.
    What a body has announced earns it no time, only what has arrived of it; what the role does in between costs none.
    """

    def __init__(self, source: Any, connection: ClientSocket) -> None:
        self._source = source
        self._connection = connection
        self._received_before = connection.received
        self._waited = 0.0
        self._waiting_since = 0.0

    def read(self, size: int = -1) -> bytes:
        return self._within_time(self._source.read, size)

    def readline(self, size: int = -1) -> bytes:
        return self._within_time(self._source.readline, size)

    def remaining(self) -> float:
        """Seconds for which the body at hand may still keep its reader waiting; asked before each piece of it."""
        received = self._connection.received - self._received_before
        return BODY_SECONDS + received / BODY_RATE - self._waited - (time.monotonic() - self._waiting_since)

    def _within_time(self, read: Any, size: int) -> bytes:
        self._waiting_since = time.monotonic()
        try:
            with held_to(self, stall=BODY_PAUSE):
                data: bytes = read(size)
        except TimeoutError as error:
            self._waited = math.inf  # nobody who asks again waits once more
            raise BodyTooSlowError("the body did not arrive in time") from error
        self._waited += time.monotonic() - self._waiting_since
        return data


class Request(WSGIRequest):
    """A request whose text is UTF-8, whatever charset its Content-Type claims, and whose body must not be too slow.

    Django decodes with the codec that the client names; Python has codecs that are none for text, and with these the
    request could not even be made. JSON and forms are UTF-8 by their standards (RFC 8259, WHATWG HTML).
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        connection = environ.get("gunicorn.socket")
        if connection is not None:
            environ["wsgi.input"] = _PatientInput(environ["wsgi.input"], connection)
        super().__init__(environ)

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
