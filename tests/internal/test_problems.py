"""Every fault becomes a problem document with a stable code and the request id."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions

from internal import context, problems
from internal.errors import InvalidReply, Rejected, Unavailable
from internal.problems import FieldError, Problem, ProblemError


@pytest.fixture(autouse=True)
def request_context() -> Iterator[None]:
    context.begin_request("request-0001")
    yield
    context.end_request()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ProblemError(problems.email_taken()), 409, "email_taken"),
        (Rejected("auth", Problem("account_locked", "Wait.")), 429, "account_locked"),
        (Unavailable("auth", "timeout"), 503, "auth_unavailable"),
        (Unavailable("images", "timeout"), 503, "images_unavailable"),
        (InvalidReply("auth", "html"), 503, "auth_unavailable"),
        (exceptions.ValidationError({"name": ["No."]}), 422, "invalid_input"),
        (exceptions.ParseError(), 400, "malformed_request"),
        (exceptions.NotAuthenticated(), 401, "unauthenticated"),
        (exceptions.PermissionDenied(), 403, "forbidden"),
        (exceptions.NotFound(), 404, "not_found"),
        (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (exceptions.NotAcceptable(), 406, "not_acceptable"),
        (exceptions.UnsupportedMediaType("text/html"), 415, "unsupported_media_type"),
        (exceptions.Throttled(wait=3), 429, "too_many_requests"),
        (Http404(), 404, "not_found"),
        (PermissionDenied(), 403, "forbidden"),
        (RequestDataTooBig(), 413, "payload_too_large"),
        (SuspiciousOperation(), 400, "malformed_request"),
        (OperationalError("connection refused"), 503, "database_unavailable"),
        (InterfaceError("closed"), 503, "database_unavailable"),
        (OSError(errno.ENOSPC, "No space left on device"), 507, "storage_full"),
        (OSError(errno.EIO, "Input/output error"), 500, "internal_error"),
        (RuntimeError("a bug, of ada@example.org"), 500, "internal_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_exception_becomes_the_document_of_its_kind(error: Exception, status: int, code: str) -> None:
    response = problems.drf_exception_handler(error, {})
    document = json.loads(response.content)

    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    assert (document["status"], document["code"], document["request_id"]) == (status, code, "request-0001")
    assert document["type"] == f"/api/v1/problems#{code}"
    assert response["Cache-Control"] == "no-store"
    assert "ada@example.org" not in response.content.decode()


def test_an_unavailable_service_is_named_in_the_words_of_the_contract_with_a_time_to_wait() -> None:
    response = problems.drf_exception_handler(Unavailable("auth", "refused", retry_after=7), {})
    assert json.loads(response.content)["detail"] == "Failed to communicate with Auth service"
    assert response["Retry-After"] == "7"


def test_faults_of_fields_are_listed_with_their_place() -> None:
    error = exceptions.ValidationError(
        {
            "name": [exceptions.ErrorDetail("Too long.", "max_length")],
            "items": [{}, {"size": [exceptions.ErrorDetail("Not a number.", "invalid")]}],
            "non_field_errors": [exceptions.ErrorDetail("Nothing to change.", "empty")],
        }
    )
    problem = problems.problem_of(error)
    assert problem is not None
    assert problem.errors == (
        FieldError("name", "max_length", "Too long."),
        FieldError("items.size", "invalid", "Not a number."),
        FieldError("body", "empty", "Nothing to change."),
    )


def test_every_code_of_the_catalogue_makes_a_document() -> None:
    for code, (status, title) in problems.CATALOGUE.items():
        document = Problem(code, "Detail.").to_json()
        assert (document["code"], document["status"], document["title"]) == (code, status, title)
