"""What every page of the portal has in common: who is signed in, no stored copies, and pages for failures."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.cache import add_never_cache_headers

from internal import context
from internal.problems import Problem, problem_of, problem_response
from portal import errors, sessions
from portal.access import SIGN_IN_FIRST, sign_in_address

SIGN_IN_AGAIN = "Please sign in again."
_READABLE_CHARSETS = {"utf-8", "utf8", "us-ascii", "ascii"}


class PortalMiddleware:
    """Sets `request.sign_in` (portal.sessions.SignIn or None) and answers what a view could not.

    It must sit after SessionMiddleware and MessageMiddleware, which it uses. Requests under /api/ pass untouched:
    they know nothing of cookies.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.sign_in = None  # type: ignore[attr-defined]
        if errors.is_api(request):
            return self.get_response(request)
        response = self._answer(request)
        if "Cache-Control" not in response:
            add_never_cache_headers(response)
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        charset = (request.content_params or {}).get("charset", "utf-8").lower()
        if charset not in _READABLE_CHARSETS:
            # Django would decode the form and even the address with it: any codec of Python's, text or not.
            request.encoding = "utf-8"
            return errors.problem_page(request, Problem("malformed_request", "Forms are read as UTF-8 only."))
        sign_in = sessions.load(request)
        request.sign_in = sign_in  # type: ignore[attr-defined]
        if sign_in:
            context.bind_account(sign_in.account.id)
        response = self.get_response(request)
        if response.status_code == 405 and not response.content:
            page = errors.render_error(request, errors.WRONG_METHOD)
            page["Allow"] = response["Allow"]
            return page
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The answer to a failure that the view left to us; None for anything unforeseen (handler500)."""
        if errors.is_api(request):
            return None
        if isinstance(exception, sessions.SignInEnded):
            return self._ask_to_sign_in(request)
        problem = problem_of(exception)
        if problem is None:
            return None
        if problem.status == 401:
            sessions.end(request)
            return self._ask_to_sign_in(request)
        return errors.problem_page(request, problem)

    def _ask_to_sign_in(self, request: HttpRequest) -> HttpResponse:
        if errors.wants_json(request):
            return problem_response(request, SIGN_IN_FIRST)
        messages.info(request, SIGN_IN_AGAIN)
        return redirect(sign_in_address(request))
