"""What the address of a request says about it before its body is read: how long it may be, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, resolve

FORM_LIMIT = 64 * 1024
"""Bytes of a form without files."""
ONE_IMAGE_LIMIT = 32 * 1024 * 1024
"""Bytes of a form with one image. More than an image may have, so that its field can say that it is too large."""
UPLOAD_TIME = 360
"""Seconds that an image may be on its way (internal.requests): where one is chosen, the token is made good for it."""
PAGE_TIME = 30
"""Seconds for which the access token is made good everywhere else."""

_FOR_ANYBODY = frozenset({"home", "register", "sign-in", "sign-out", "status", "status-board"})
_WHERE_IMAGES_ARE_CHOSEN = frozenset({"images", "profile", "sign-in-renewal"})
_FORM_OF_UPLOAD = {"images": "portal:images", "profile-image": "portal:profile", "register": "portal:register"}


@dataclass(frozen=True)
class Route:
    """Where a request goes.

    Attributes:
        is_personal: whether it needs somebody who is signed in.
        token_time: seconds for which the access token should be good.
        body_limit: bytes.
        upload_form: for a request that carries images, the page whose form it is.
    """

    is_personal: bool = False
    token_time: int = PAGE_TIME
    body_limit: int = FORM_LIMIT
    upload_form: str | None = None


def route_of(request: HttpRequest) -> Route:
    """The route of a request of the portal; one that leads nowhere is for anybody."""
    try:
        name = resolve(request.path_info).url_name or ""
    except Resolver404:
        return Route()
    upload_form = _FORM_OF_UPLOAD.get(name) if request.method == "POST" else None
    body_limit = FORM_LIMIT
    if upload_form:
        body_limit = settings.BODY_LIMIT if name == "images" else ONE_IMAGE_LIMIT
    return Route(
        is_personal=name not in _FOR_ANYBODY,
        token_time=UPLOAD_TIME if name in _WHERE_IMAGES_ARE_CHOSEN else PAGE_TIME,
        body_limit=body_limit,
        upload_form=upload_form,
    )


def body_length(request: HttpRequest) -> int:
    """What Content-Length says; 0 for what is no number, which internal.middleware.BodyLimitMiddleware refuses."""
    try:
        return int(request.headers.get("Content-Length") or 0)
    except ValueError:
        return 0
