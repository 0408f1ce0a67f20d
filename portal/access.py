"""Which pages need a person who is signed in, and where a person goes before and after signing in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from internal import context
from internal.problems import Problem, ProblemError, problem_response
from portal import errors
from portal.routes import route_of
from portal.sessions import SignIn

P = ParamSpec("P")

SIGN_IN_FIRST = Problem("unauthenticated", "Please sign in again.")
SEND_AGAIN = Problem(
    "token_expired", "Your sign-in had to be renewed before this could be stored. Please send it once more."
)


class PortalRequest(HttpRequest):
    """A request of anybody, after PortalMiddleware."""

    sign_in: SignIn | None


class PersonalRequest(HttpRequest):
    """A request of somebody who is signed in."""

    sign_in: SignIn


def signed_in_only(
    view: Callable[Concatenate[PersonalRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Sends visitors to the sign-in page (401 for JSON). portal.middleware has renewed the token of everybody else."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        sign_in: SignIn | None = request.sign_in  # type: ignore[attr-defined]
        if sign_in is None:
            return ask_visitor(request)
        with deadline_for(request):
            if sign_in.has_expired and route_of(request).upload_form:
                raise ProblemError(SEND_AGAIN)  # while its body was on the way
            return view(request, *args, **kwargs)  # type: ignore[arg-type]

    return guarded


def ask_visitor(request: HttpRequest) -> HttpResponse:
    """The answer to a visitor where somebody has to be signed in."""
    if errors.wants_json(request):
        return problem_response(request, SIGN_IN_FIRST)
    return redirect(sign_in_address(request))


def deadline_for(request: HttpRequest) -> AbstractContextManager[object]:
    """The deadline for uploads if the request carries files: sending them may have used up the ordinary one."""
    return context.upload_deadline() if request.method == "POST" and request.FILES else nullcontext()


def sign_in_address(request: HttpRequest) -> str:
    """The sign-in page that leads back to this page, where it is one that can simply be opened again."""
    address = reverse("portal:sign-in")
    if request.method != "GET":
        return address
    return f"{address}?{urlencode({'next': request.get_full_path()})}"


def next_address(request: HttpRequest, wanted: str | None) -> str:
    """`wanted` if it lies within this portal, else the gallery."""
    if wanted and url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return reverse("portal:images")
