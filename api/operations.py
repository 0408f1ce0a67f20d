"""The documentation of each call, as decorators for the views: what it does, takes, answers, and may refuse.

`_answers` writes down every problem that a call can end in, by its code in `internal.problems.CATALOGUE`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)

from api import serializers
from internal.problems import CATALOGUE, CONTENT_TYPE

JSON = "application/json"
FORM = "multipart/form-data"

# --- what may go wrong, by kind of call ---

_ALWAYS = ("not_acceptable", "internal_error")
_AUTH = ("auth_unavailable",)
_IMAGES = ("images_unavailable",)
_TOKEN = ("unauthenticated", "invalid_token", "token_expired", "auth_unavailable")
_BODY = (
    "malformed_request",
    "length_required",
    "payload_too_large",
    "unsupported_media_type",
    "invalid_input",
)
_LIMITED = ("too_many_requests",)
_LOCKABLE = ("account_locked", "too_many_requests")
_FILE = (
    "image_too_large",
    "not_an_image",
    "too_many_pixels",
    "too_many_frames",
    "one_file_only",
)
_STORE = ("image_quota_exceeded", "storage_full", "storage_unavailable")

_EXAMPLE_ID = "018f6d0a-5a3e-7c41-9b7e-3f0e6f1d2c11"
_EXAMPLE_SESSION_ID = "018f6d0c-1b52-7f6a-8a0d-7b1a52a4c9d0"
_EXAMPLE_IMAGE_ID = "018f6d10-77aa-7d20-b1c4-5d5be8f3a7e2"
_EXAMPLE_TOKEN = "mF_9.B5f-4.1JqM" + "x" * 28
_EXAMPLE_CURSOR = "MjAyNi0xMS0yMw"


def _answers(success: dict[int, OpenApiResponse], *codes: str) -> dict[Any, OpenApiResponse]:
    by_status = groupby(sorted({*codes, *_ALWAYS}, key=_status), key=_status)
    refusals = {(status, CONTENT_TYPE): _refusal(list(same)) for status, same in by_status}
    answers = {(status, JSON) if answer.response else status: answer for status, answer in success.items()}
    return answers | refusals


def _status(code: str) -> int:
    return CATALOGUE[code][0]


def _refusal(codes: Iterable[str]) -> OpenApiResponse:
    codes = sorted(codes)
    lines = [f"`{code}`: {CATALOGUE[code][1]}." for code in codes]
    return OpenApiResponse(
        serializers.Problem,
        "\n\n".join(lines),
        [_problem_example(code) for code in codes],
    )


def _problem_example(code: str) -> OpenApiExample:
    status, title = CATALOGUE[code]
    value: dict[str, Any] = {
        "type": f"/api/v1/problems#{code}",
        "title": title,
        "status": status,
        "detail": f"{title}.",
        "code": code,
        "request_id": "5f0c1d1e8a7b4c3d9e2f6a1b0c4d8e7f",
    }
    if code == "invalid_input":
        value["errors"] = [{"field": "name", "code": "required", "message": "This field is required."}]
    elif code in (*_FILE, "image_quota_exceeded"):
        value["errors"] = [{"field": "image", "code": code, "message": f"{title}."}]
    elif code in ("wrong_password", "email_taken"):
        field = "email" if code == "email_taken" else "current_password"
        value["errors"] = [{"field": field, "code": code, "message": f"{title}."}]
    return OpenApiExample(code, value=value, response_only=True)


def _example(value: Any) -> list[OpenApiExample]:
    return [OpenApiExample("Example", value=value)]


def _request_example(value: Any) -> OpenApiExample:
    return OpenApiExample("Example", value=value, request_only=True, media_type=JSON)


_KEPT = (
    "A change that was made in another way (at the portal, by another process) shows within a second; with "
    "`Cache-Control: no-cache` in the request, at once."
)
_NO_CONTENT = OpenApiResponse(description="Done.")

# --- examples ---

_IMAGE: dict[str, Any] = {
    "id": _EXAMPLE_IMAGE_ID,
    "content_type": "image/jpeg",
    "width": 4000,
    "height": 3000,
    "size_bytes": 2_412_381,
    "animated": False,
    "created_at": "2026-11-23T09:41:07Z",
    "is_profile_image": True,
    "url": f"https://images.local/uploads/{_EXAMPLE_IMAGE_ID}.jpg",
    "avatar_url": f"https://images.local/uploads/{_EXAMPLE_IMAGE_ID}.avatar.webp",
    "card_url": f"https://images.local/uploads/{_EXAMPLE_IMAGE_ID}.card.webp",
}
_PROFILE: dict[str, Any] = {
    "id": _EXAMPLE_ID,
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "created_at": "2026-11-20T18:02:44Z",
    "last_sign_in_at": "2026-11-23T09:40:12Z",
    "previous_sign_in_at": "2026-11-22T21:15:30Z",
    "image": _IMAGE,
    "limited": [],
}
_NEW_PROFILE = _PROFILE | {
    "last_sign_in_at": None,
    "previous_sign_in_at": None,
    "image": None,
    "notice": None,
}
_LIMITED_PROFILE = dict.fromkeys(_PROFILE) | {
    "id": _EXAMPLE_ID,
    "image": _IMAGE,
    "limited": ["account"],
}
_GRANT = {
    "access_token": "eyJhbGciOiJFZDI1NTE5Iiwia2lkIjoiMSJ9.e30.c2lnbmF0dXJl",
    "refresh_token": _EXAMPLE_TOKEN,
    "token_type": "Bearer",
    "expires_in": 600,
    "refresh_expires_in": 2_592_000,
}
_SESSION = {
    "id": _EXAMPLE_SESSION_ID,
    "device": "curl/8.14.1",
    "address": "192.0.2.7",
    "created_at": "2026-11-22T21:15:30Z",
    "last_used_at": "2026-11-23T09:40:12Z",
    "expires_at": "2026-12-22T21:15:30Z",
    "current": True,
}

# --- account ---

register = extend_schema(
    operation_id="register",
    tags=["Account"],
    summary="Make an account",
    description=(
        "Send JSON, or a form if there is a profile image. With a bad image nothing is registered, and the problem "
        "says why. If only the image store does not answer, the account is made without its image: `limited` has "
        "`image`, and `notice` says how to add it later."
    ),
    request={JSON: serializers.Registration, FORM: serializers.RegistrationForm},
    responses=_answers(
        {
            201: OpenApiResponse(
                serializers.RegisteredProfile,
                "The account was made.",
                _example(_NEW_PROFILE),
            )
        },
        *_BODY,
        *_FILE,
        *_AUTH,
        *_LIMITED,
        "email_taken",
    ),
    examples=[
        _request_example(
            {
                "name": "Ada Lovelace",
                "email": "ada@example.org",
                "password": "correct horse battery staple",
            }
        )
    ],
)

get_profile = extend_schema(
    operation_id="getProfile",
    tags=["Account"],
    summary="Show the profile",
    description=(
        "If a service does not answer, the profile comes without what that service knows: `limited` names the missing "
        "parts. Without `account` only the id is there, which the access token proves, and the image.\n\n"
        f"{_KEPT}"
    ),
    responses=_answers(
        {
            200: OpenApiResponse(
                serializers.Profile,
                "The profile, whole or limited.",
                [
                    OpenApiExample("Whole", value=_PROFILE),
                    OpenApiExample("Auth does not answer", value=_LIMITED_PROFILE),
                ],
            )
        },
        *_TOKEN,
        "images_unavailable",
    ),
)

change_profile = extend_schema(
    operation_id="changeProfile",
    tags=["Account"],
    summary="Change name or email",
    description="To change the email, send the current password with it. Members that are left out stay as they are.",
    request={JSON: serializers.ProfileChanges},
    responses=_answers(
        {200: OpenApiResponse(serializers.Profile, "The profile as it is now.", _example(_PROFILE))},
        *_TOKEN,
        *_BODY,
        *_AUTH,
        *_LOCKABLE,
        "email_taken",
        "wrong_password",
    ),
    examples=[_request_example({"name": "Ada King"})],
)

close_account = extend_schema(
    operation_id="closeAccount",
    tags=["Account"],
    summary="Close the account",
    description="Its sessions, images and records go, for good.",
    responses=_answers({204: _NO_CONTENT}, *_TOKEN, *_AUTH, *_IMAGES),
)

set_profile_image = extend_schema(
    operation_id="setProfileImage",
    tags=["Account"],
    summary="Set the profile image",
    description="Send a form with a new image, which is stored as well, or JSON with the id of one that is stored.",
    request={FORM: serializers.ImageUpload, JSON: serializers.ImageChoice},
    responses=_answers(
        {
            200: OpenApiResponse(
                serializers.Image,
                "A stored image is the profile image now.",
                _example(_IMAGE),
            ),
            201: OpenApiResponse(
                serializers.Image,
                "The new image is the profile image now.",
                _example(_IMAGE),
            ),
        },
        *_TOKEN,
        *_BODY,
        *_FILE,
        *_IMAGES,
        *_STORE,
        *_LIMITED,
        "not_found",
        "conflict",
    ),
    examples=[_request_example({"image_id": _EXAMPLE_IMAGE_ID})],
)

clear_profile_image = extend_schema(
    operation_id="clearProfileImage",
    tags=["Account"],
    summary="Show no profile image",
    description="The image itself stays among the images.",
    responses=_answers({204: _NO_CONTENT}, *_TOKEN, *_IMAGES),
)

# --- sign-in ---

login = extend_schema(
    operation_id="login",
    tags=["Sign-in"],
    summary="Sign in",
    description="A wrong password and an unknown email get the same answer, after the same time.",
    request={JSON: serializers.Credentials},
    responses=_answers(
        {200: OpenApiResponse(serializers.TokenGrant, "The tokens of a new session.", _example(_GRANT))},
        *_BODY,
        *_AUTH,
        *_LOCKABLE,
        "invalid_credentials",
    ),
    examples=[_request_example({"email": "ada@example.org", "password": "correct horse battery staple"})],
)

refresh = extend_schema(
    operation_id="refresh",
    tags=["Sign-in"],
    summary="Trade the refresh token for new tokens",
    description=(
        "The token sent is used up by it; only a repeat within ten seconds, after an answer that got lost, is "
        "forgiven. If a used one comes again later, somebody has a copy: the whole session ends."
    ),
    request={JSON: serializers.RefreshToken},
    responses=_answers(
        {
            200: OpenApiResponse(
                serializers.TokenGrant,
                "The new tokens of the session.",
                _example(_GRANT),
            )
        },
        *_BODY,
        *_AUTH,
        *_LIMITED,
        "invalid_refresh_token",
    ),
    examples=[_request_example({"refresh_token": _EXAMPLE_TOKEN})],
)

logout = extend_schema(
    operation_id="logout",
    tags=["Sign-in"],
    summary="Sign out",
    description="Ends the session of the refresh token. The answer is the same if there is no such session.",
    request={JSON: serializers.RefreshToken},
    responses=_answers({204: _NO_CONTENT}, *_BODY, *_AUTH),
    examples=[_request_example({"refresh_token": _EXAMPLE_TOKEN})],
)

change_password = extend_schema(
    operation_id="changePassword",
    tags=["Sign-in"],
    summary="Change the password",
    description="Every other session of the account ends.",
    request={JSON: serializers.PasswordChange},
    responses=_answers({204: _NO_CONTENT}, *_TOKEN, *_BODY, *_AUTH, *_LOCKABLE, "wrong_password"),
    examples=[
        _request_example(
            {
                "current_password": "correct horse battery staple",
                "new_password": "four other quite random words",
            }
        )
    ],
)

list_sessions = extend_schema(
    operation_id="listSessions",
    tags=["Sign-in"],
    summary="List where one is signed in",
    description="Last used first.",
    responses=_answers(
        {
            200: OpenApiResponse(
                serializers.SessionList,
                "Every session that lasts.",
                _example({"items": [_SESSION]}),
            )
        },
        *_TOKEN,
        *_AUTH,
    ),
)

end_session = extend_schema(
    operation_id="endSession",
    tags=["Sign-in"],
    summary="Sign out somewhere",
    description="The session cannot be refreshed any more, and its access token ends with it or within ten minutes.",
    parameters=[
        OpenApiParameter(
            "session_id",
            {"type": "string", "format": "uuid"},
            OpenApiParameter.PATH,
            description="Id of one of the caller's own sessions.",
        )
    ],
    responses=_answers({204: _NO_CONTENT}, *_TOKEN, *_AUTH, "not_found"),
)

# --- images ---

_IMAGE_ID = OpenApiParameter(
    "image_id",
    {"type": "string", "format": "uuid"},
    OpenApiParameter.PATH,
    description="Id of one of the caller's own images.",
)

list_images = extend_schema(
    operation_id="listImages",
    tags=["Images"],
    summary="List images",
    description=f"Newest first, in pages. Follow `next_cursor` or the `Link` header to the next page.\n\n{_KEPT}",
    parameters=[serializers.PageQuery],
    responses=_answers(
        {
            200: OpenApiResponse(
                serializers.ImagePage,
                "One page of the images.",
                _example({"items": [_IMAGE], "next_cursor": _EXAMPLE_CURSOR, "total": 61}),
            )
        },
        *_TOKEN,
        *_IMAGES,
        "invalid_input",
    ),
)

upload_image = extend_schema(
    operation_id="uploadImage",
    tags=["Images"],
    summary="Store an image",
    description=(
        "PNG, JPEG, WebP or GIF, found out by decoding: neither name nor media type of the file matters. The "
        "orientation is applied, and all metadata (place, camera, date) is removed. Once this answers, the image is "
        "stored durably."
    ),
    request={FORM: serializers.ImageUpload},
    responses=_answers(
        {
            201: OpenApiResponse(
                serializers.Image,
                "The image was stored.",
                _example(_IMAGE | {"is_profile_image": False}),
            )
        },
        *_TOKEN,
        *_BODY,
        *_FILE,
        *_IMAGES,
        *_STORE,
        *_LIMITED,
        "conflict",
    ),
)

get_image = extend_schema(
    operation_id="getImage",
    tags=["Images"],
    summary="Show one image",
    description="Its measures, and the addresses of the image, its avatar and its card.",
    parameters=[_IMAGE_ID],
    responses=_answers(
        {200: OpenApiResponse(serializers.Image, "The image.", _example(_IMAGE))},
        *_TOKEN,
        *_IMAGES,
        "not_found",
    ),
)

delete_image = extend_schema(
    operation_id="deleteImage",
    tags=["Images"],
    summary="Remove an image",
    description="If it is the profile image, the profile has none afterwards.",
    parameters=[_IMAGE_ID],
    responses=_answers({204: _NO_CONTENT}, *_TOKEN, *_IMAGES, "not_found"),
)
