"""Answers that are given again: the profile and the list of images, as long as nothing of what they say has changed.

Most of what an answer costs is asking auth and images, who verify, look up and write it all anew. An answer that was
worked out is kept in this process and given again while three things hold: the same access token is sent, it still
verifies, and the marks of its account are what they were before anybody was asked (internal.marks), and can be relied
on. A client that wants to be told by auth and images themselves sends `Cache-Control: no-cache`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch, reverse
from django_prometheus.middleware import Metrics
from rest_framework.response import Response

from internal import context, metrics, tokens
from internal.errors import ServiceError
from internal.marks import Marks, board
from internal.problems import ProblemError
from internal.tokens import Verified

MOST_BYTES: Final = 16 * 1024 * 1024  # of all answers that a process keeps
_OVERHEAD: Final = 2048  # bytes of an answer beside its content and what it is kept as, about

_Key = tuple[str, str, str]  # token, address, Accept
_COMPLETE = "_is_complete"


def complete(response: Response) -> Response:
    """Says that nothing is missing in this answer, and that it says only what auth and images know of the account."""
    setattr(response, _COMPLETE, True)
    return response


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer of 200, whose it is, and what has to be so that it can be given again."""

    verified: Verified
    marks: Marks
    content: bytes
    headers: tuple[tuple[str, str], ...]
    match: ResolverMatch

    def holds(self) -> bool:
        """Whether it still says how things are.

        The order counts. The token first: its key set may have to be fetched, and things change meanwhile. The marks
        last: they are written before the moment until which they are relied on, and so they are read after it.
        """
        return self.verified.holds() and board.relied_on() and self.marks == board.marks(self.verified.claims.subject)

    def given_to(self, request: HttpRequest) -> HttpResponse:
        """The answer once more."""
        context.bind_account(self.verified.claims.subject)
        request.resolver_match = self.match
        response = HttpResponse(self.content)
        for name, value in self.headers:
            response.headers[name] = value
        return response


class KeptAnswers:
    """The answers that this process keeps; the oldest go when there are too many."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._answers: OrderedDict[_Key, KeptAnswer] = OrderedDict()
        self._most_bytes = most_bytes
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: _Key) -> KeptAnswer | None:
        """The answer, if it is kept and holds."""
        answer = self._answers.get(key)
        return answer if answer is not None and answer.holds() else None

    def keep(self, key: _Key, answer: KeptAnswer) -> None:
        """Keeps an answer, in place of the one before."""
        with self._lock:
            before = self._answers.pop(key, None)
            self._bytes += _size(key, answer) - (_size(key, before) if before else 0)
            self._answers[key] = answer
            while self._bytes > self._most_bytes:
                self._bytes -= _size(*self._answers.popitem(last=False))


def _size(key: _Key, answer: KeptAnswer) -> int:
    """Bytes that it takes, about: a client chooses how long its address and `Accept` are."""
    return len(answer.content) + sum(map(len, key)) + _OVERHEAD


_GIVEN, _MADE = (metrics.KEPT_ANSWERS.labels(outcome) for outcome in ("given", "made"))


def _count(view: str, transport: str, began: float) -> None:
    """Counts an answer among those of its view, as the metrics middleware further in does for all others."""
    requests, responses, by_status, seconds = _counters(view, transport)
    requests.inc()
    responses.inc()
    by_status.inc()
    seconds.observe(time.perf_counter() - began)


@cache
def _counters(view: str, transport: str) -> tuple[Any, Any, Any, Any]:
    django = Metrics.get_instance()
    return (
        django.requests_by_view_transport_method.labels(view=view, transport=transport, method="GET"),
        django.responses_by_status_view_method.labels(status="200", view=view, method="GET"),
        django.responses_by_status.labels(status="200"),
        django.requests_latency_by_view_method.labels(view=view, method="GET"),
    )


class KeptAnswersMiddleware:
    """Gives an answer that is kept and holds; keeps new ones.

    Stands outside of everything that such an answer does not need: sessions, forms, views.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._answers = KeptAnswers()
        self._paths = frozenset({reverse("api:profile"), reverse("api:images")})

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers the request, or passes it on."""
        if request.method != "GET" or request.path not in self._paths:
            return self.get_response(request)
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or "no-cache" in request.META.get("HTTP_CACHE_CONTROL", "").lower():
            return self.get_response(request)
        key = (token, request.get_full_path(), request.META.get("HTTP_ACCEPT", ""))
        kept = self._answers.get(key)
        if kept is None:
            _MADE.inc()
            return self._made(request, key, token)
        began = time.perf_counter()
        request.get_host()  # raises DisallowedHost, as every other answer would
        response = kept.given_to(request)
        _GIVEN.inc()
        _count(kept.match.view_name, request.scheme or "", began)
        return response

    def _made(self, request: HttpRequest, key: _Key, token: str) -> HttpResponse:
        try:
            verified = tokens.verified(token.strip())
        except (ProblemError, ServiceError):
            return self.get_response(request)  # says the same in the words of the call
        marks = board.marks(verified.claims.subject)
        response = self.get_response(request)
        match = request.resolver_match
        if match and response.status_code == 200 and getattr(response, _COMPLETE, False) and not response.cookies:
            headers = tuple(response.headers.items())
            self._answers.keep(key, KeptAnswer(verified, marks, response.content, headers, match))
        return response
