"""The public API is there over HTTPS or not at all."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from internal.problems import Problem, problem_response

PREFIX = "/api/"


class HttpsOnlyMiddleware:
    """Refuses a call of the API over plain HTTP, where HTTPS_ONLY is set.

    A browser is sent on to HTTPS. A program that was sent on would go on sending its tokens in the clear first, and
    nobody would notice (OWASP ASVS 5.0, 4.1.2); SECURE_REDIRECT_EXEMPT leaves it to us. Stands behind
    SecurityMiddleware.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers 403, or passes the request on."""
        if settings.HTTPS_ONLY and request.path.startswith(PREFIX) and not request.is_secure():
            return problem_response(request, Problem("forbidden", "This API is to be had over HTTPS only."))
        return self.get_response(request)
