"""Problem documents (RFC 9457): the one form in which any role says what is wrong.

A document has `type`, `title`, `status` and `detail`, and beside them a stable `code` for programs, the `request_id`
under which the logs know the request, and for faulty input `errors`: field, code and message of each.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils.module_loading import import_string
from rest_framework import exceptions

from internal import context
from internal.errors import InvalidReply, Rejected, Unavailable
from internal.requests import BodyTooSlowError

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER = 5  # seconds, where nothing better is known

# PostgreSQL's undefined_table and undefined_column: a release that came before its migrations.
_MISSING = frozenset({"42P01", "42703"})

# Every code that a role may answer with: its status and its title.
CATALOGUE: MappingProxyType[str, tuple[int, str]] = MappingProxyType(
    {
        "malformed_request": (400, "The request could not be read"),
        "unauthenticated": (401, "Sign in first"),
        "invalid_credentials": (401, "Email or password is wrong"),
        "invalid_token": (401, "The access token is not valid"),
        "token_expired": (401, "The access token has expired"),
        "invalid_refresh_token": (401, "The refresh token is not valid"),
        "invalid_signature": (401, "The service signature is not valid"),
        "forbidden": (403, "This is not allowed"),
        "not_found": (404, "There is no such thing"),
        "method_not_allowed": (405, "The method is not allowed here"),
        "not_acceptable": (406, "No representation fits the Accept header"),
        "request_timeout": (408, "The request body came too slowly"),
        "conflict": (409, "The request conflicts with what is stored"),
        "email_taken": (409, "The email address is taken"),
        "image_quota_exceeded": (409, "The account's image quota is used up"),
        "length_required": (411, "A Content-Length is required"),
        "payload_too_large": (413, "The request body is too large"),
        "image_too_large": (413, "The image file is too large"),
        "uri_too_long": (414, "The address is too long"),
        "unsupported_media_type": (415, "The media type is not supported"),
        "expectation_failed": (417, "The expectation cannot be met"),
        "invalid_input": (422, "Some of the input is not valid"),
        "wrong_password": (422, "The current password is wrong"),
        "not_an_image": (422, "The file is not an image that can be read"),
        "too_many_pixels": (422, "The image has too many pixels"),
        "too_many_frames": (422, "The image has too many frames"),
        "one_file_only": (422, "One file only"),
        "account_locked": (429, "Too many failed attempts"),
        "too_many_requests": (429, "Too many requests"),
        "header_fields_too_large": (431, "The header fields are too large"),
        "internal_error": (500, "Something went wrong on our side"),
        "unsupported_transfer_coding": (501, "The transfer coding is not supported"),
        "auth_unavailable": (503, "The Auth service does not answer"),
        "images_unavailable": (503, "The Image service does not answer"),
        "database_unavailable": (503, "The database does not answer"),
        "storage_unavailable": (503, "The image store does not answer"),
        "busy": (503, "The service is busy"),
        "deadline_exceeded": (503, "The deadline has passed"),
        "storage_full": (507, "The image store is full"),
    }
)

# Said by the gateway when a service cannot be reached; the wording is part of the contract.
UNAVAILABLE_DETAIL = MappingProxyType(
    {
        "auth": "Failed to communicate with Auth service",
        "images": "Failed to communicate with Image service",
    }
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of the input: its name, a stable code, a sentence for a person."""

    field: str
    code: str
    message: str

    def to_json(self) -> dict[str, str]:
        """The error as a member of `errors`."""
        return {"field": self.field, "code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document. `status` follows from `code`; `retry_after` is in seconds."""

    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    retry_after: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return CATALOGUE[self.code][0]

    @property
    def title(self) -> str:
        """The title, the same for every problem of this code."""
        return CATALOGUE[self.code][1]

    def to_json(self) -> dict[str, Any]:
        """The document, without the request id."""
        document: dict[str, Any] = {
            "type": f"/api/v1/problems#{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            document["errors"] = [error.to_json() for error in self.errors]
        return document


class ProblemError(Exception):
    """Raised by domain code to answer with a problem document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def invalid_input(*errors: FieldError) -> Problem:
    """The input has faults, each of them named."""
    return Problem("invalid_input", "Some fields are missing or not valid.", errors)


def invalid_field(name: str, code: str, message: str) -> Problem:
    """One field is not valid."""
    return invalid_input(FieldError(name, code, message))


def image_fault(code: str, message: str) -> Problem:
    """The image is not acceptable; `code` is one of the catalogue."""
    return Problem(code, message, (FieldError("image", code, message),))


def require_time_left() -> None:
    """Asked last before something is committed: nobody waits for the answer any more once the deadline has passed, and
    what they were told is that it did not work.

    Raises:
        ProblemError: deadline_exceeded.
    """
    if context.current_deadline().remaining() <= 0:
        raise ProblemError(
            Problem("deadline_exceeded", "It took too long. Nothing was changed.", retry_after=RETRY_AFTER)
        )


def unreadable_body(error: UnreadablePostError) -> Problem:
    """The body could not be read to its end: it came too slowly, or the client went away."""
    if isinstance(error.__cause__, BodyTooSlowError):
        return Problem("request_timeout", "The request body did not arrive in time. Send it again.")
    return Problem("malformed_request", "The request body ended too early.")


def email_taken() -> Problem:
    """There is an account with this email address."""
    message = "There is already an account with this email address."
    return Problem("email_taken", message, (FieldError("email", "email_taken", message),))


def unavailable(service: str, retry_after: int = RETRY_AFTER) -> Problem:
    """A service that this role needs does not answer."""
    return Problem(f"{service}_unavailable", UNAVAILABLE_DETAIL[service], retry_after=retry_after)


def problem_response(request: HttpRequest | None, problem: Problem) -> HttpResponse:
    """The problem as an HTTP answer of type application/problem+json."""
    document = problem.to_json() | {"request_id": context.request_id()}
    response = JsonResponse(document, status=problem.status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    if problem.status == 401 and problem.code != "invalid_signature":
        response["WWW-Authenticate"] = 'Bearer realm="seawall"'
    for name, value in problem.headers.items():
        response[name] = value
    return response


def respond(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The problem as a document, or as the page that PROBLEM_PAGE makes for a browser (not below /api/)."""
    page = getattr(settings, "PROBLEM_PAGE", None)
    if page is None or request.path.startswith("/api/"):
        return problem_response(request, problem)
    answer = import_string(page)(request, problem)
    assert isinstance(answer, HttpResponse)
    return answer


def problem_of(error: BaseException) -> Problem | None:
    """The problem that an exception stands for; None for one that nobody foresaw."""
    match error:
        case ProblemError() | Rejected():
            return error.problem
        case Unavailable():
            return unavailable(error.service, error.retry_after)
        case InvalidReply():
            log.error("service_reply_invalid", dependency=error.service, reason=str(error))
            return unavailable(error.service)
        case exceptions.APIException():
            return _of_rest_framework(error)
        case Http404():
            return Problem("not_found", "There is nothing at this address.")
        case PermissionDenied():
            return Problem("forbidden", "This is not allowed.")
        case RequestDataTooBig():
            return Problem("payload_too_large", "The request body is larger than is allowed here.")
        case TooManyFieldsSent() | TooManyFilesSent():
            return Problem("malformed_request", "The request has too many fields or files.")
        case UnreadablePostError():
            return unreadable_body(error)
        case SuspiciousOperation() | BadRequest():
            return Problem("malformed_request", "The request could not be read to its end.")
        case OperationalError() | InterfaceError():
            log.warning("database_unavailable", reason=str(error).strip().splitlines()[:1])
            is_open = getattr(error.__cause__, "outcome_is_open", False)  # then nobody is told to ask again as before
            wait = None if is_open else RETRY_AFTER
            return Problem("database_unavailable", "The database does not answer.", retry_after=wait)
        case ProgrammingError() if getattr(error.__cause__, "sqlstate", None) in _MISSING:
            log.error("database_not_migrated", reason=str(error).strip().splitlines()[:1], remedy="manage.py migrate")
            return Problem("database_unavailable", "The database is not ready yet.", retry_after=RETRY_AFTER)
        case OSError() if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            log.error("disk_full")
            return Problem("storage_full", "There is no room to take the upload in just now. Nothing was stored.")
        case _:
            return None


def drf_exception_handler(error: Exception, view_context: dict[str, Any]) -> HttpResponse:
    """REST framework's EXCEPTION_HANDLER: every exception becomes a problem document."""
    request = view_context.get("request")
    problem = problem_of(error)
    if problem is None:
        log.error("request_failed", exc_info=error)
        problem = Problem("internal_error", "Something went wrong on our side; it has been logged.")
    return problem_response(getattr(request, "_request", None), problem)


def _of_rest_framework(error: exceptions.APIException) -> Problem:
    match error:
        case exceptions.ValidationError():
            return invalid_input(*_flatten(error.get_full_details()))
        case exceptions.ParseError():
            return Problem("malformed_request", str(error.detail))
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return Problem("unauthenticated", "Send an access token: Authorization: Bearer <access_token>.")
        case exceptions.PermissionDenied():
            return Problem("forbidden", str(error.detail))
        case exceptions.NotFound():
            return Problem("not_found", str(error.detail))
        case exceptions.MethodNotAllowed():
            return Problem("method_not_allowed", str(error.detail))
        case exceptions.NotAcceptable():
            return Problem("not_acceptable", str(error.detail))
        case exceptions.UnsupportedMediaType():
            return Problem("unsupported_media_type", str(error.detail))
        case exceptions.Throttled():
            seconds: float | None = getattr(error, "wait", None)
            wait = None if seconds is None else int(seconds) + 1
            return Problem("too_many_requests", str(error.detail), retry_after=wait)
        case _:
            return Problem("malformed_request", str(error.detail))


def _flatten(details: Any, path: str = "") -> Iterator[FieldError]:
    if isinstance(details, dict) and set(details) == {"message", "code"} and isinstance(details["code"], str):
        yield FieldError(path or "body", details["code"], str(details["message"]))
    elif isinstance(details, dict):
        for name, inner in details.items():
            yield from _flatten(inner, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    elif isinstance(details, list):
        for inner in details:
            yield from _flatten(inner, path)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400 of the roles that have no pages."""
    problem = problem_of(exception) or Problem("malformed_request", "The request could not be read.")
    return problem_response(request, problem)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404 of the roles that have no pages."""
    return problem_response(request, Problem("not_found", "There is nothing at this address."))


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500 of the roles that have no pages."""
    return problem_response(request, Problem("internal_error", "Something went wrong on our side; it has been logged."))
