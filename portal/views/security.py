"""Password, sessions, and closing the account."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from internal import clients, workflows
from internal.contracts import Session
from internal.errors import ServiceError
from internal.problems import ProblemError
from portal import sessions as cookie_sessions
from portal.access import PersonalRequest, signed_in_only
from portal.devices import in_words
from portal.forms import CloseAccountForm, PasswordForm
from portal.problems import explain_on, with_retry_after


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in_only
def password(request: PersonalRequest) -> HttpResponse:
    """Changes the password; auth ends every other session with it."""
    if request.method != "POST":
        return render(request, "portal/password.html", {"form": PasswordForm()})
    form = PasswordForm(request.POST)
    if form.is_valid():
        try:
            clients.auth_client().change_password(request.sign_in.token, **form.cleaned_data)
        except ServiceError as error:
            explain_on(
                form,
                error,
                sentence="Your password has not been changed.",
                if_open="Your password may be changed all the same. Use the new one first when you sign in next; "
                "if it is not accepted, the old one is.",
            )
        else:
            messages.success(request, "Your password is changed. Everywhere else you are signed out now.")
            return redirect("portal:profile")
    response = render(request, "portal/password.html", {"form": form}, status=form.status)
    return with_retry_after(response, form.retry_after)


@dataclass(frozen=True)
class SignedInDevice:
    session: Session
    device: str


@require_safe
@signed_in_only
def sessions(request: PersonalRequest) -> HttpResponse:
    """Where this person is signed in, this device first."""
    listed = clients.auth_client().sessions(request.sign_in.token)
    devices = [SignedInDevice(session, in_words(session.device)) for session in listed]
    devices.sort(key=lambda item: (not item.session.current, -item.session.last_used_at.timestamp()))
    return render(request, "portal/sessions.html", {"devices": devices})


@require_POST
@signed_in_only
def end_session(request: PersonalRequest, session_id: UUID) -> HttpResponse:
    """Signs out on another device."""
    clients.auth_client().end_session(request.sign_in.token, session_id)
    messages.success(request, "That device is signed out.")
    return redirect("portal:sessions")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in_only
def close_account(request: PersonalRequest) -> HttpResponse:
    """Removes account, sessions and images, once the email address has been typed."""
    email = request.sign_in.account.email
    if request.method != "POST":
        form = CloseAccountForm(account_email=email)
        return render(request, "portal/close_account.html", {"form": form, "email": email})
    form = CloseAccountForm(request.POST, account_email=email)
    if form.is_valid():
        try:
            workflows.close_account(request.sign_in.token)
        except (ServiceError, ProblemError) as error:
            sentence = "Your account is not closed yet."
            if isinstance(error, ServiceError) and error.service == "auth":
                sentence = "Your account is not closed yet, but your images may be removed already."
            explain_on(
                form,
                error,
                sentence=sentence,
                if_open="Your account may be closed already, and your images removed. Try again: "
                "if it is closed, you are asked to sign in.",
            )
        else:
            cookie_sessions.end(request)
            messages.success(request, "Your account is closed. Your images and your data are removed.")
            return redirect("portal:home")
    response = render(request, "portal/close_account.html", {"form": form, "email": email}, status=form.status)
    return with_retry_after(response, form.retry_after)
