"""Middleware that every role has."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from internal import context
from internal.addresses import client_address, normal
from internal.problems import Problem, problem_response, respond
from internal.transport import CLIENT_ADDRESS_HEADER, DEADLINE_HEADER

log = structlog.get_logger(__name__)

BUSY_RETRY_AFTER = 2  # seconds
_NOT_BEGUN = Problem("deadline_exceeded", "It had to wait too long. Nothing was changed.", retry_after=BUSY_RETRY_AFTER)
QUIET_ROUTES = frozenset({"internal/v1/status", "internal/v1/changes"})  # asked all the time by every gateway
_MILLISECONDS = re.compile(r"[0-9]{1,6}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")

GetResponse = Callable[[HttpRequest], HttpResponse]


class RequestContextMiddleware:
    """Gives each request its id, its deadline and its line in the log. Stands first: everything else may log.

    The id comes from X-Request-ID where that is well-formed, and goes back in the answer. The deadline and the client's
    address come from the calling role; the gateway and the console (ACCEPTS_DEADLINE is not set there) give their own.
    What the request waited for a thread counts, what its body took to arrive does not: where one is on its way, the
    deadline begins with the first call that follows. A call whose deadline had passed before a thread came to it is not
    begun. The log line has the route and not the path: the path of a stored image is
    the key to it.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.accepts_deadline = getattr(settings, "ACCEPTS_DEADLINE", False)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers the request inside its context."""
        started = time.monotonic()
        request_id = context.begin_request(request.META.get("HTTP_X_REQUEST_ID"))
        peer = client_address(request)
        context.bind_client_address(self._announced_address(request) if self.accepts_deadline else peer)
        try:
            with self._deadline(request) as deadline:
                over = self.accepts_deadline and isinstance(deadline, context.Deadline) and deadline.remaining() <= 0
                response = problem_response(request, _NOT_BEGUN) if over else self.get_response(request)
            response["X-Request-ID"] = request_id
            if not response.streaming and not response.has_header("Content-Length"):
                response["Content-Length"] = str(len(response.content))
            match = request.resolver_match
            route = match.route if match else "(none)"
            say = log.debug if route in QUIET_ROUTES and response.status_code < 400 else log.info
            say(
                "request_finished",
                method=request.method,
                route=route,
                status=response.status_code,
                milliseconds=round((time.monotonic() - started) * 1000, 1),
                address=peer,
            )
            return response
        finally:
            context.end_request()

    @staticmethod
    def _announced_address(request: HttpRequest) -> str:
        """The person's address, as the calling role says it; empty if it does not."""
        return normal(request.headers.get(CLIENT_ADDRESS_HEADER, ""))

    def _deadline(self, request: HttpRequest) -> AbstractContextManager[object]:
        supplied = request.headers.get(DEADLINE_HEADER, "")
        if self.accepts_deadline and _MILLISECONDS.fullmatch(supplied):
            return context.deadline_of(min(int(supplied) / 1000, context.UPLOAD_DEADLINE) - context.wait())
        if (request.META.get("CONTENT_LENGTH") or "0") == "0":
            return context.deadline_of(context.REQUEST_DEADLINE - context.wait())
        return context.allowance_of(context.REQUEST_DEADLINE)


class ForwardedSchemeMiddleware:
    """Believes X-Forwarded-Proto only where it is one word. Stands before whatever asks for the scheme of a request.

    A proxy that sets the header leaves one word. A list is what a client wrote, with the proxy's word behind it, and
    Django would believe the first word of it (SECURE_PROXY_SSL_HEADER). Such a request counts as plain HTTP.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Passes the request on, without the header if that is a list."""
        if "," in request.META.get("HTTP_X_FORWARDED_PROTO", ""):
            del request.META["HTTP_X_FORWARDED_PROTO"]
        return self.get_response(request)


class BodyLimitMiddleware:
    """Refuses a body that is too long, or whose length is not said, before anything reads it.

    Stands before everything that may read the body. BODY_LIMIT of the settings is in bytes. What the client goes on
    sending is thrown away by the server, within bounds.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers 411 or 413, or passes the request on."""
        problem = self._fault(request)
        return self.get_response(request) if problem is None else respond(request, problem)

    def _fault(self, request: HttpRequest) -> Problem | None:
        if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
            detail = "Send the body with a Content-Length; chunked transfer is not accepted."
            return Problem("length_required", detail)
        length = request.headers.get("Content-Length") or "0"
        if not _WHOLE_NUMBER.fullmatch(length):
            return Problem("malformed_request", "Content-Length must be a whole number.")
        if int(length) > settings.BODY_LIMIT:
            limit = _readable(settings.BODY_LIMIT)
            return Problem("payload_too_large", f"The request body is too large: at most {limit} are accepted.")
        return None


def _readable(size: int) -> str:
    return f"{size // (1024 * 1024)} MB" if size >= 1024 * 1024 else f"{size // 1024} KB"
