"""The profile: name, email, image, sign-in times."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from internal import clients, workflows
from internal.contracts import Account
from internal.errors import ServiceError
from internal.workflows import ProfileView
from portal import sessions
from portal.access import PersonalRequest, next_address, signed_in_only
from portal.forms import DetailsForm, ProfileImageForm
from portal.pictures import Picture, public_url
from portal.problems import explain_on, with_retry_after


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in_only
def profile(request: PersonalRequest) -> HttpResponse:
    """Shows the profile and changes name and email.

    While auth or images do not answer, it is limited to what the cookie remembers.
    """
    if request.method != "POST":
        return _page(request)
    form = DetailsForm(request.POST, initial=_details(request))
    if not form.is_valid():
        return _page(request, details=form)
    try:
        account = _save_details(request, form)
    except ServiceError as error:
        explain_on(
            form,
            error,
            sentence="Nothing has been changed.",
            if_open="Your changes may be saved all the same. Open your profile again to see.",
        )
        return _page(request, details=form)
    sessions.remember(request, request.sign_in, name=account.name, email=account.email)
    messages.success(request, "Your profile is saved.")
    return redirect("portal:profile")


def _save_details(request: PersonalRequest, form: DetailsForm) -> Account:
    wanted = form.cleaned_data
    email_changes = wanted["email"] != form.initial["email"]
    return clients.auth_client().update_account(
        request.sign_in.token,
        name=wanted["name"],
        email=wanted["email"] if email_changes else None,
        current_password=wanted["current_password"] if email_changes else None,
    )


@require_POST
@signed_in_only
def change_image(request: PersonalRequest) -> HttpResponse:
    """Stores an uploaded image and makes it the profile image."""
    form = ProfileImageForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, image_form=form)
    file = form.cleaned_data["image"]
    try:
        image = clients.images_client().upload(request.sign_in.token, file.file, file.size, as_profile_image=True)
    except ServiceError as error:
        explain_on(
            form,
            error,
            sentence="Your image has not been stored.",
            if_open="Your image may be stored all the same. Look into your gallery before you send it again.",
        )
        return _page(request, image_form=form)
    sessions.remember(request, request.sign_in, avatar_path=image.avatar_path)
    messages.success(request, "Your profile image is set.")
    return redirect("portal:profile")


@require_POST
@signed_in_only
def remove_image(request: PersonalRequest) -> HttpResponse:
    """Goes on without a profile image; the image stays in the gallery."""
    clients.images_client().clear_profile_image(request.sign_in.token)
    sessions.remember(request, request.sign_in, avatar_path=None)
    messages.success(request, "You have no profile image any more. The image is still in your gallery.")
    wanted = request.POST.get("next")
    return redirect(next_address(request, wanted) if wanted else "portal:profile")


def _page(
    request: PersonalRequest, *, details: DetailsForm | None = None, image_form: ProfileImageForm | None = None
) -> HttpResponse:
    """The profile page; with a form that has errors, in the status of that form."""
    view = _load(request)
    failed = details or image_form
    known = request.sign_in.account
    page: dict[str, Any] = {
        "account": view.account,
        "known": known,
        "picture": Picture.of(view.image) if view.image else None,
        "remembered_avatar": public_url(known.avatar_path) if known.avatar_path else None,
        "unavailable": view.unavailable,
        "details": details or DetailsForm(initial=_details(request)),
        "image_form": image_form or ProfileImageForm(),
        "failed": failed,
    }
    response = render(request, "portal/profile.html", page, status=failed.status if failed else 200)
    return with_retry_after(response, failed.retry_after if failed else None)


def _load(request: PersonalRequest) -> ProfileView:
    """Asks auth and images, and keeps in the cookie what they say."""
    if request.sign_in.has_expired:
        return ProfileView(account=None, image=None, unavailable=frozenset({"auth", "images"}))
    view = workflows.load_profile(request.sign_in.token)
    learnt: dict[str, str | None] = {}
    if view.account:
        learnt |= {"name": view.account.name, "email": view.account.email}
    if "images" not in view.unavailable:
        learnt["avatar_path"] = view.image.avatar_path if view.image else None
    sessions.remember(request, request.sign_in, **learnt)
    return view


def _details(request: PersonalRequest) -> dict[str, str]:
    return {"name": request.sign_in.account.name, "email": request.sign_in.account.email}
