"""Error pages in the look of the portal, and problem documents for whoever asks for JSON (the API, the upload script).

The handlers are named in config/urls/gateway.py and config/settings/gateway.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.cache import add_never_cache_headers

from internal.context import request_id
from internal.problems import Problem, problem_of, problem_response
from portal.problems import wait_in_words, with_retry_after

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ErrorPage:
    """What an error page says.

    Attributes:
        art: names a drawing in static/portal/art.
        waits_for: the dependency that is missing; a page that was only to be seen comes by itself when it is back.
    """

    status: int
    title: str
    text: str
    art: str = "buoy"
    waits_for: str = ""


MALFORMED = ErrorPage(
    400,
    "We could not read this request",
    "Your browser sent something we do not understand. Go back and try once more.",
)
FORBIDDEN = ErrorPage(403, "This is not for you to open", "You are not allowed to see this page.")
FORM_EXPIRED = ErrorPage(
    403,
    "This form has expired",
    "To protect you, we accept a form only from a page that we have just given you, with cookies allowed. "
    "Go back, reload the page and send the form again.",
)
NOT_FOUND = ErrorPage(
    404,
    "There is nothing here",
    "This page does not exist, or it is not yours to see. Check the address, or start again from your gallery.",
)
WRONG_METHOD = ErrorPage(405, "This address works differently", "Use the buttons and links of the portal to get there.")
TOO_LARGE = ErrorPage(
    413,
    "This is too large",
    "What you sent is larger than we accept. An image may have up to 10 MB; send several images a few at a time.",
)
FAULT = ErrorPage(
    500,
    "Something went wrong on our side",
    "It is our fault, and it has been noted. Try again; if it happens again, tell us the request number below.",
    art="fog",
)


def is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def wants_json(request: HttpRequest) -> bool:
    """True under /api/, and for a caller such as the upload script that accepts JSON but no page."""
    return is_api(request) or (request.accepts("application/json") and not request.accepts("text/html"))


def render_error(request: HttpRequest, page: ErrorPage, *, retry_after: int | None = None) -> HttpResponse:
    waits_for = page.waits_for if request.method == "GET" else ""
    context = {"error": page, "request_id": request_id(), "waits_for": waits_for}
    html = render_to_string("portal/errors/error.html", context, request)
    response = HttpResponse(html, status=page.status)
    add_never_cache_headers(response)  # some failures come from further out than PortalMiddleware
    return with_retry_after(response, retry_after)


def problem_page(request: HttpRequest, problem: Problem) -> HttpResponse:
    """PROBLEM_PAGE: a problem that no form could show, as a page (as a document for whoever wants JSON)."""
    if wants_json(request):
        return problem_response(request, problem)
    page = render_error(request, _page_for(problem), retry_after=problem.retry_after)
    for name, value in problem.headers.items():
        page[name] = value
    return page


def open_outcome_page(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The page after a change that a service was asked for and did not confirm; `problem` says which service it was."""
    if wants_json(request):
        return problem_response(request, problem)
    text = "It may be done all the same. Go back, reload the page to see, and try once more if it is not."
    page = ErrorPage(problem.status, problem.detail, text, art="fog")
    return render_error(request, page, retry_after=problem.retry_after)


def _page_for(problem: Problem) -> ErrorPage:
    known = _PAGES.get(problem.code)
    if known:
        return known
    wait = wait_in_words(problem.retry_after)
    match problem.code:
        case "auth_unavailable":
            text = f"Your account cannot be looked up at this moment; nothing of it is lost. {wait}"
            return ErrorPage(503, problem.detail, text, art="fog", waits_for="auth")
        case "images_unavailable":
            text = f"Your images cannot be listed or changed at this moment; what is stored stays stored. {wait}"
            return ErrorPage(503, problem.detail, text, art="fog", waits_for="images")
        case _ if problem.status >= 500 or problem.status == 429:
            return ErrorPage(problem.status, problem.title, f"{problem.detail} {wait}", art="fog")
        case _:
            return ErrorPage(problem.status, problem.title, problem.detail)


_PAGES = {
    "malformed_request": MALFORMED,
    "forbidden": FORBIDDEN,
    "not_found": NOT_FOUND,
    "method_not_allowed": WRONG_METHOD,
    "payload_too_large": TOO_LARGE,
    "internal_error": FAULT,
}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400: a request that Django refuses to read, 413 where it is only too large."""
    return problem_page(
        request, problem_of(exception) or Problem("malformed_request", "The request could not be read.")
    )


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler403."""
    return problem_page(request, Problem("forbidden", "This is not allowed."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW: `reason` is Django's, for the log only."""
    log.warning("csrf_check_failed", reason=reason)
    if wants_json(request):
        return problem_response(request, Problem("forbidden", f"{FORM_EXPIRED.title}. {FORM_EXPIRED.text}"))
    return render_error(request, FORM_EXPIRED)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404."""
    return problem_page(request, Problem("not_found", "There is nothing at this address."))


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: Django has logged the exception. The page is plain text if even the template fails."""
    if wants_json(request):
        return problem_response(request, Problem("internal_error", f"{FAULT.title}; it has been logged."))
    try:
        return render_error(request, FAULT)
    except Exception:
        log.exception("error_page_failed")
        text = f"{FAULT.title}. {FAULT.text}\n\nRequest {request_id()}\n"
        response = HttpResponse(text, status=500, content_type="text/plain; charset=utf-8")
        add_never_cache_headers(response)
        return response
