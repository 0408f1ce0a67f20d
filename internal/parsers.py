"""How every role reads JSON bodies: one object, strict UTF-8, and a limit on what is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.http import UnreadablePostError
from rest_framework.parsers import BaseParser

from internal.problems import Problem, ProblemError, unreadable_body

JSON_LIMIT_BYTES = 64 * 1024


class JsonObjectParser(BaseParser):
    """Reads one JSON object (RFC 8259: UTF-8, no NaN or Infinity) of at most 64 KiB; one that is longer is not read.

    Raises:
        ProblemError: payload_too_large (413), or malformed_request (400) for anything but an object.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        request = (parser_context or {}).get("request")
        if request is not None and int(request.META.get("CONTENT_LENGTH") or 0) > JSON_LIMIT_BYTES:
            raise _too_large()
        body = self._read(stream)
        try:
            value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        except UnicodeDecodeError:
            raise ProblemError(Problem("malformed_request", "The body is not UTF-8 text.")) from None
        except RecursionError:
            raise ProblemError(Problem("malformed_request", "The body is nested too deeply.")) from None
        except ValueError:
            raise ProblemError(Problem("malformed_request", "The body is not valid JSON.")) from None
        if not isinstance(value, dict):
            raise ProblemError(Problem("malformed_request", "The body must be a JSON object."))
        return value

    def _read(self, stream: IO[Any]) -> bytes:
        try:
            body: bytes = stream.read(JSON_LIMIT_BYTES + 1)
        except UnreadablePostError as error:
            raise ProblemError(unreadable_body(error)) from None
        if len(body) > JSON_LIMIT_BYTES:
            raise _too_large()
        return body


def _too_large() -> ProblemError:
    return ProblemError(Problem("payload_too_large", f"A JSON body may have {JSON_LIMIT_BYTES // 1024} KB at most."))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
