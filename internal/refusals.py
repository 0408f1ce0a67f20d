"""Answers that are written without Django: to requests that are refused unread, and to those that cannot be read.

They are what the rest of a role answers: problem documents with a code of the catalogue and the request's id. Somebody
at a browser gets a page of one sentence.
"""

from __future__ import annotations

import html
import json
import re
from http import HTTPStatus

from gunicorn.http import errors

from internal import context
from internal.problems import CONTENT_TYPE, Problem

BUSY_RETRY_AFTER = 2  # seconds
BUSY = Problem(
    "busy",
    "Too many people want something at this moment. Please try again in a few seconds.",
    retry_after=BUSY_RETRY_AFTER,
)
TOO_SLOW = Problem("request_timeout", "The request did not arrive in time. Send it again.")
CUT_SHORT = Problem("malformed_request", "The request body ended too early.")
LINE_TOO_LONG = Problem("uri_too_long", "The address of the request is too long.")
HEAD_TOO_LARGE = Problem("header_fields_too_large", "The header fields of the request are too large or too many.")
NOT_HTTP = Problem("malformed_request", "This is not a request of HTTP/1.1.")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title></head>
<body><h1>{title}</h1><p>{detail}</p><p>Request {{id}}</p></body></html>
"""
_SUPPLIED_ID = re.compile(rb"\r\nx-request-id:[ \t]*([A-Za-z0-9._-]{8,64})[ \t]*\r\n", re.IGNORECASE)
_WANTS_PAGE = re.compile(rb"\r\naccept:[^\r\n]*text/html")  # in small letters

# What gunicorn's parser raises, the more special first. Everything else of the client's is a malformed request; what is
# said of it is never what it contained, which may be a password.
_MALFORMED: tuple[tuple[type[Exception], str], ...] = (
    (errors.InvalidRequestLine, "The first line is not that of an HTTP request."),
    (errors.InvalidRequestMethod, "The method is not one of HTTP."),
    (errors.InvalidHTTPVersion, "The version of HTTP is not supported: use HTTP/1.1."),
    (errors.InvalidHeaderName, "The name of a header field is not valid."),
    (errors.ObsoleteFolding, "A header field is folded over several lines."),
    (errors.InvalidHeader, "A header field is not valid, or contradicts another one."),
    (errors.InvalidChunkSize, "The body is not chunked as it says."),
    (errors.ChunkMissingTerminator, "The body is not chunked as it says."),
    (errors.InvalidChunkExtension, "The body is not chunked as it says."),
    (errors.ParseException, "The request could not be read."),
)


def problem_of(error: BaseException) -> Problem:
    """What to answer when gunicorn could not read a request, or could not answer it."""
    match error:
        case errors.InvalidResponseHeader() | errors.InvalidResponseHeaderName() | errors.ConfigurationProblem():
            return Problem("internal_error", "Something went wrong on our side. It has been noted.")
        case errors.LimitRequestLine():
            return LINE_TOO_LONG
        case errors.LimitRequestHeaders():
            return HEAD_TOO_LARGE
        case errors.UnsupportedTransferCoding():
            return Problem("unsupported_transfer_coding", "Send the body as it is, with a Content-Length.")
        case errors.ExpectationFailed():
            return Problem("expectation_failed", "The only expectation that can be met is 100-continue.")
    for kind, detail in _MALFORMED:
        if isinstance(error, kind):
            return Problem("malformed_request", detail)
    return Problem("internal_error", "Something went wrong on our side. It has been noted.")


def id_in(head: bytes) -> str | None:
    """The well-formed X-Request-ID of a request; the bytes may go on behind its head, or end before."""
    supplied = _SUPPLIED_ID.search(head.partition(b"\r\n\r\n")[0] + b"\r\n")
    return supplied[1].decode() if supplied else None


class Refusal:
    """A problem as complete HTTP answers, prepared but for the id and for what becomes of the connection."""

    def __init__(self, problem: Problem) -> None:
        lines = [
            f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
        ]
        if problem.retry_after is not None:
            lines.append(f"Retry-After: {problem.retry_after}")
        start = "\r\n".join([*lines, "Content-Type: "])
        document = json.dumps(problem.to_json() | {"request_id": "{id}"}).encode()
        page = _PAGE.format(title=html.escape(problem.title), detail=html.escape(problem.detail)).encode()
        # For each form what comes before the length, the length without the id, and the body around the id.
        self._document = (f"{start}{CONTENT_TYPE}\r\nContent-Length: ".encode(), *_split(document))
        page_type = "text/html; charset=utf-8\r\nContent-Security-Policy: default-src 'none'"
        self._page = (f"{start}{page_type}\r\nContent-Length: ".encode(), *_split(page))
        # What is around the two places of a new id, for an answer after which the connection goes on, or ends.
        mark = context.new_id().encode()
        whole = [self._made(mark, page=False, close=close, without_body=False) for close in (False, True)]
        self._around = [answer.split(mark) for answer in whole]

    def to(self, head: bytes, *, close: bool, request_id: str | None = None, lowered: bytes | None = None) -> bytes:
        """The answer to the request of this head; with `close`, one after which the connection ends.

        Without `request_id` it is the one that the request supplies, or a new one. Who has the head in small letters
        gives it along.
        """
        if lowered is None:
            lowered = head.lower()
        if request_id is None and b"\r\nx-request-id:" in lowered:
            request_id = id_in(head)
        page = b"text/html" in lowered and _WANTS_PAGE.search(lowered) is not None and b" /api/" not in head[:16]
        return self._made(
            (request_id or context.new_id()).encode(), page=page, close=close, without_body=head.startswith(b"HEAD ")
        )

    def plain(self, *, close: bool) -> bytes:
        """The answer to a GET of a program that supplies no id."""
        request_id = context.new_id().encode()
        before, between, after = self._around[close]
        return b"%b%b%b%b%b" % (before, request_id, between, request_id, after)

    def unread(self, request_id: str) -> bytes:
        """The answer to a request of which nothing is known; the connection ends."""
        return self._made(request_id.encode(), page=False, close=True, without_body=False)

    def _made(self, request_id: bytes, *, page: bool, close: bool, without_body: bool) -> bytes:
        start, length, before, after = self._page if page else self._document
        end = b"\r\nConnection: close\r\n\r\n" if close else b"\r\nConnection: keep-alive\r\n\r\n"
        head = b"%b%d\r\nX-Request-ID: %b%b" % (start, length + len(request_id), request_id, end)
        return head if without_body else b"%b%b%b%b" % (head, before, request_id, after)


def _split(body: bytes) -> tuple[int, bytes, bytes]:
    before, _, after = body.partition(b"{id}")
    return len(before) + len(after), before, after
