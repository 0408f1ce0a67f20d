"""What every page of the portal has in common: who is signed in, no stored copies, and pages for failures."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.cache import add_never_cache_headers

from internal import context
from internal.errors import Rejected, ServiceError
from internal.problems import Problem, problem_of, problem_response, unavailable
from internal.uploads import BoundedFiles
from portal import errors, sessions
from portal.access import SEND_AGAIN, SIGN_IN_FIRST, ask_visitor, sign_in_address
from portal.problems import in_our_words, is_open
from portal.routes import Route, body_length, route_of

SIGN_IN_AGAIN = "Please sign in again."


class PortalMiddleware:
    """Sets `request.sign_in` (portal.sessions.SignIn or None) and answers what a view could not.

    It must sit after SessionMiddleware and MessageMiddleware, which it uses. Requests under /api/ pass untouched:
    they know nothing of cookies.

    What it does before it passes a request on, it does before the body is read (the first to read it is the CSRF
    check, when the view is known). By then the body of an upload may not have arrived, and when it has, this browser
    may long have renewed, ended or changed its sign-in in another tab. So an upload uses the access token that it came
    with and never writes the sign-in cookie: the pages that it comes from have made that token good for a while.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.sign_in = None  # type: ignore[attr-defined]
        if errors.is_api(request):
            return self.get_response(request)
        response = self._answer(request)
        sessions.write_cookie(request, response)
        if "Cache-Control" not in response:
            add_never_cache_headers(response)
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        route = route_of(request)
        sign_in = sessions.load(request)
        request.sign_in = sign_in  # type: ignore[attr-defined]
        if sign_in:
            context.bind_account(sign_in.account.id)
        if body_length(request) > route.body_limit:
            return errors.problem_page(
                request, Problem("payload_too_large", "The form is larger than is allowed here.")
            )
        if route.upload_form:
            request.upload_handlers.insert(0, BoundedFiles(request))
            if route.is_personal and sign_in is None:
                return ask_visitor(request)
            if route.is_personal and sign_in and sign_in.has_expired:
                return self._ask_to_send_again(request, route)
        elif route.is_personal and sign_in:
            try:
                sessions.renew(request, sign_in, good_for=route.token_time)
            except sessions.SignInEnded:
                return self._ask_to_sign_in(request)
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
        problem = in_our_words(exception) if isinstance(exception, Rejected) else problem_of(exception)
        if problem is None:
            return None
        if problem.status == 401:
            return self._refused(request, problem)
        if request.method == "POST" and isinstance(exception, ServiceError) and is_open(exception):
            return errors.open_outcome_page(request, problem)
        return errors.problem_page(request, problem)

    def _refused(self, request: HttpRequest, problem: Problem) -> HttpResponse:
        """The answer when the access token was not accepted."""
        route = route_of(request)
        if route.upload_form:
            return self._ask_to_send_again(request, route)
        if problem.code == "token_expired":
            # It was about to, and auth did not renew it: no word about whether this session lives.
            return errors.problem_page(request, unavailable("auth"))
        sessions.end(request)
        return self._ask_to_sign_in(request)

    def _ask_to_send_again(self, request: HttpRequest, route: Route) -> HttpResponse:
        if errors.wants_json(request):
            return problem_response(request, SEND_AGAIN)
        messages.warning(request, SEND_AGAIN.detail)
        return redirect(str(route.upload_form))

    def _ask_to_sign_in(self, request: HttpRequest) -> HttpResponse:
        if errors.wants_json(request):
            return problem_response(request, SIGN_IN_FIRST)
        messages.info(request, SIGN_IN_AGAIN)
        return redirect(sign_in_address(request))
