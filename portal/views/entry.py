"""Coming and going: the front page, registration, signing in and out."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from internal import clients, tokens, workflows
from internal.addresses import client_address
from internal.contracts import StoredImage, TokenGrant
from internal.errors import ServiceError
from internal.problems import Problem, ProblemError
from portal import known_devices, sessions
from portal.access import PersonalRequest, PortalRequest, deadline_for, next_address, signed_in_only
from portal.devices import device_of
from portal.forms import PortalForm, RegistrationForm, SignInForm
from portal.problems import explain_on, with_retry_after
from portal.sessions import AccountSnapshot

MISSING_IMAGE = "missing-image"
"""Tag of a message that is shown with a link to where a profile image can be added."""


@require_safe
def home(request: PortalRequest) -> HttpResponse:
    """Welcomes visitors; people who are signed in go on to their gallery."""
    return redirect("portal:images") if request.sign_in else render(request, "portal/home.html")


@require_http_methods(["GET", "HEAD", "POST"])
def register(request: PortalRequest) -> HttpResponse:
    """Makes an account, with the profile image if one came along, and signs in."""
    if request.sign_in:
        return redirect("portal:images")
    if request.method != "POST":
        return render(request, "portal/register.html", {"form": RegistrationForm()})
    form = RegistrationForm(request.POST, request.FILES)
    if not form.is_valid():
        return _registration_again(request, form)
    with deadline_for(request):
        return _register(request, form)


def _register(request: PortalRequest, form: RegistrationForm) -> HttpResponse:
    try:
        registration = workflows.register_with_image(**form.cleaned_data)
    except (ServiceError, ProblemError) as error:
        explain_on(
            form,
            error,
            sentence="No account has been made.",
            if_open="Your account may have been made all the same. Try to sign in; if that fails, register once more.",
        )
        return _registration_again(request, form)
    missing = registration.image_problem
    try:
        grant = _open_session(request, form)
    except ServiceError:
        messages.success(request, "Your account is ready. Sign in to use it.")
        if missing:
            messages.warning(request, f"{_missing_image(missing)} You can add it once you are signed in.")
        return redirect("portal:sign-in")
    sessions.start(request, grant, AccountSnapshot.of(registration.account, registration.image))
    messages.success(request, f"Welcome, {registration.account.name}. Your account is ready.")
    if missing:
        messages.warning(request, _missing_image(missing), extra_tags=MISSING_IMAGE)
    onward = redirect("portal:profile" if missing else "portal:images")
    return known_devices.remember(request, onward, form.cleaned_data["email"])


def _missing_image(problem: Problem) -> str:
    return f"Your profile image is missing: {problem.detail.rstrip('.')}."


def _registration_again(request: PortalRequest, form: RegistrationForm) -> HttpResponse:
    form.ask_for_the_image_again()
    return _form_again(request, "portal/register.html", form)


@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: PortalRequest) -> HttpResponse:
    """Opens a session at auth and leads to `next`, or to the gallery."""
    wanted = next_address(request, request.POST.get("next") or request.GET.get("next"))
    if request.sign_in:
        return redirect(wanted)
    if request.method != "POST":
        return render(request, "portal/sign_in.html", {"form": SignInForm(), "next": wanted})
    form = SignInForm(request.POST)
    if not form.is_valid():
        return _form_again(request, "portal/sign_in.html", form, next=wanted)
    try:
        grant = _open_session(request, form)
        snapshot = _snapshot(grant, email=form.cleaned_data["email"])
    except ServiceError as error:
        sentence = "You cannot sign in at this moment; nothing is wrong with your password."
        explain_on(form, error, sentence=sentence, if_open=f"{sentence} Please try again in a moment.")
        return _form_again(request, "portal/sign_in.html", form, next=wanted)
    sessions.start(request, grant, snapshot)
    return known_devices.remember(request, redirect(wanted), form.cleaned_data["email"])


@require_POST
@signed_in_only
def renewal(request: PersonalRequest) -> HttpResponse:
    """Answers 204 when the access token is good for an upload: PortalMiddleware has renewed it if needed.

    The scripts ask for this before they send an image, whose own request cannot renew.

    Raises:
        Unavailable: the token has expired and auth does not answer.
    """
    request.sign_in.require_token()
    return HttpResponse(status=204)


@require_POST
def sign_out(request: PortalRequest) -> HttpResponse:
    """Forgets the sign-in on this device in any case, and ends the session at auth if auth answers."""
    signed_in = request.sign_in
    if signed_in is None:
        return redirect("portal:home")
    sessions.end(request)
    try:
        clients.auth_client().sign_out(refresh_token=signed_in.refresh_token)
    except ServiceError:
        text = (
            "You are signed out on this device. The Auth service did not answer, so your list of sessions "
            "may show this device for a while."
        )
        messages.warning(request, text)
    else:
        messages.success(request, "You are signed out.")
    return redirect("portal:home")


def _open_session(request: PortalRequest, form: PortalForm) -> TokenGrant:
    return clients.auth_client().sign_in(
        email=form.cleaned_data["email"],
        password=form.cleaned_data["password"],
        device=device_of(request),
        address=client_address(request),
        known_device=known_devices.known_device(request, form.cleaned_data["email"]),
    )


def _snapshot(grant: TokenGrant, *, email: str) -> AccountSnapshot:
    """What there is to know of the person right now: at the least, the email that has just been proven."""
    view = workflows.load_profile(grant.access_token)
    image: StoredImage | None = view.image
    if view.account:
        return AccountSnapshot.of(view.account, image)
    subject = tokens.verify(grant.access_token).subject
    return AccountSnapshot(str(subject), email.partition("@")[0], email, image.avatar_path if image else None)


def _form_again(request: PortalRequest, template: str, form: PortalForm, **context: object) -> HttpResponse:
    response = render(request, template, {"form": form, **context}, status=form.status)
    return with_retry_after(response, form.retry_after)
