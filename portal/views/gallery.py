"""The gallery: list, upload, one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, cast
from uuid import UUID

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from internal import clients
from internal.context import request_id
from internal.contracts import StoredImage
from internal.errors import InvalidReply, Rejected, ServiceError, Unavailable
from internal.problems import UNAVAILABLE_DETAIL, FieldError, Problem, invalid_field, problem_of, problem_response
from portal import errors, sessions
from portal.access import PersonalRequest, signed_in_only
from portal.pictures import Picture
from portal.problems import in_our_words, is_open, wait_in_words, with_retry_after

PAGE_SIZE = 24
FILES_AT_ONCE = 10
"""How many files one form takes without the upload script, which sends them one by one."""

_LONGEST_SHOWN_NAME = 60
_MAY_BE_STORED = "It may be stored all the same. Reload your gallery to see before you send it again."


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in_only
def images(request: PersonalRequest) -> HttpResponse:
    """Lists the images of this person, newest first, and takes new ones."""
    if request.method != "POST":
        return _gallery(request, cursor=request.GET.get("cursor"))
    if errors.wants_json(request):
        return _upload_for_script(request)
    return _upload_from_form(request)


def _gallery(
    request: PersonalRequest, *, cursor: str | None = None, results: Sequence[UploadResult] = ()
) -> HttpResponse:
    try:
        page = clients.images_client().list(request.sign_in.token, cursor=cursor or None, limit=PAGE_SIZE)
    except Rejected as rejected:
        if rejected.problem.code == "invalid_input":
            raise Http404("no such page of the gallery") from rejected
        raise
    except (Unavailable, InvalidReply) as error:
        problem = problem_of(error)
        if results or problem is None or error.service != "images" or errors.wants_json(request):
            raise
        return _without_images(request, problem)
    context = {
        "pictures": [Picture.of(item) for item in page.items],
        "total": page.total,
        "next_cursor": page.next_cursor,
        "is_first_page": not cursor,
        "results": results,
        "files_at_once": FILES_AT_ONCE,
    }
    failed = next((result for result in results if result.error), None)
    response = render(request, "portal/images.html", context, status=failed.status if failed else 200)
    return with_retry_after(response, failed.retry_after if failed else None)


def _without_images(request: PersonalRequest, problem: Problem) -> HttpResponse:
    """The gallery while images does not answer: what is the matter, and how it goes on."""
    context = {
        "detail": problem.detail,
        "wait": wait_in_words(problem.retry_after),
        "request_id": request_id(),
        "waits_for": "images",
    }
    response = render(request, "portal/gallery_unavailable.html", context, status=problem.status)
    return with_retry_after(response, problem.retry_after)


def _upload_for_script(request: PersonalRequest) -> HttpResponse:
    """One file in the field `image`; 201 with the stored image, or a problem document.

    Where it is not known whether the image is stored, the document says so in an error of the field.
    """
    files = request.FILES.getlist("image")
    if len(files) > 1:
        return problem_response(request, Problem("one_file_only", "Send one file only."))
    if not files:
        return problem_response(request, invalid_field("image", "required", "Choose an image."))
    try:
        stored = _store(request, files[0])
    except (Unavailable, InvalidReply) as error:
        problem = problem_of(error)
        if problem is None or not is_open(error):
            raise
        fault = FieldError("image", "outcome_unknown", f"{problem.detail}. {_MAY_BE_STORED}")
        return problem_response(request, replace(problem, errors=(fault,)))
    return JsonResponse({"image": Picture.of(stored).to_json()}, status=201)


@dataclass(frozen=True)
class UploadResult:
    """What became of one file of a form.

    `status` and `retry_after` (seconds) are those of the whole answer if this is the first one to fail.
    """

    name: str
    picture: Picture | None = None
    error: str | None = None
    status: int = 200
    retry_after: int | None = None


def _upload_from_form(request: PersonalRequest) -> HttpResponse:
    """Stores the files one after the other; goes back to the gallery, or says file by file what happened."""
    files = request.FILES.getlist("image")
    if not files:
        return _gallery(request, results=[UploadResult("No file", error="Choose at least one image.", status=422)])
    results: list[UploadResult] = []
    unreachable: UploadResult | None = None
    for number, file in enumerate(files):
        name = _shown_name(file)
        if number >= FILES_AT_ONCE:
            text = f"Not stored: up to {FILES_AT_ONCE} files at a time, please."
            results.append(UploadResult(name, error=text, status=422))
            continue
        if unreachable:
            results.append(replace(unreachable, name=name))
            continue
        try:
            results.append(UploadResult(name, picture=Picture.of(_store(request, file))))
        except Rejected as rejected:
            problem = in_our_words(rejected)
            if problem.status == 401 and not any(result.picture for result in results):
                raise
            text = problem.errors[0].message if problem.errors else problem.detail
            results.append(UploadResult(name, error=text, status=problem.status, retry_after=problem.retry_after))
        except (Unavailable, InvalidReply) as error:
            results.append(_not_confirmed(name, error))
            unreachable = _not_stored(name, error)
    if all(result.picture for result in results):
        count = len(results)
        messages.success(request, "Your image is stored." if count == 1 else f"{count} images are stored.")
        return redirect("portal:images")
    try:
        return _gallery(request, results=results)
    except ServiceError:
        response = render(request, "portal/upload_results.html", {"results": results}, status=503)
        return with_retry_after(response, unreachable.retry_after if unreachable else None)


def _store(request: PersonalRequest, file: UploadedFile[bytes]) -> StoredImage:
    return clients.images_client().upload(request.sign_in.token, cast(BinaryIO, file.file), file.size or 0)


def _not_confirmed(name: str, error: Unavailable | InvalidReply) -> UploadResult:
    result = _not_stored(name, error)
    if not is_open(error):
        return result
    return replace(result, error=f"{UNAVAILABLE_DETAIL[error.service]}. {_MAY_BE_STORED}")


def _not_stored(name: str, error: Unavailable | InvalidReply) -> UploadResult:
    retry_after = error.retry_after if isinstance(error, Unavailable) else None
    text = f"Not stored: {UNAVAILABLE_DETAIL[error.service]}."
    return UploadResult(name, error=text, status=503, retry_after=retry_after)


def _shown_name(file: UploadedFile[bytes]) -> str:
    name = "".join(character for character in file.name or "" if character.isprintable())
    return name if len(name) <= _LONGEST_SHOWN_NAME else f"{name[: _LONGEST_SHOWN_NAME - 1]}…"


@require_safe
@signed_in_only
def image(request: PersonalRequest, image_id: UUID) -> HttpResponse:
    """One image, large, with its details."""
    stored = clients.images_client().get(request.sign_in.token, image_id)
    return render(request, "portal/image.html", {"picture": Picture.of(stored)})


@require_POST
@signed_in_only
def use_as_profile_image(request: PersonalRequest, image_id: UUID) -> HttpResponse:
    """Makes a stored image the profile image."""
    stored = clients.images_client().set_profile_image(request.sign_in.token, image_id)
    sessions.remember(request, request.sign_in, avatar_path=stored.avatar_path)
    messages.success(request, "This is your profile image now.")
    return redirect("portal:image", image_id)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in_only
def delete(request: PersonalRequest, image_id: UUID) -> HttpResponse:
    """Asks first (the page for browsers without JavaScript), then removes the image for good."""
    images_client, token = clients.images_client(), request.sign_in.token
    if request.method != "POST":
        picture = Picture.of(images_client.get(token, image_id))
        return render(request, "portal/image_delete.html", {"picture": picture})
    images_client.delete(token, image_id)
    avatar = request.sign_in.account.avatar_path
    if avatar and str(image_id) in avatar:
        sessions.remember(request, request.sign_in, avatar_path=None)
    messages.success(request, "The image is deleted.")
    return redirect("portal:images")
