"""What takes more than one call to more than one role, and what both the portal and the API do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO, TypeVar, cast

import structlog
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from internal import clients, context, turns
from internal.contracts import Account, StoredImage
from internal.errors import InvalidReply, Rejected, Unavailable
from internal.problems import Problem, problem_of
from internal.transport import THREADS

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

JUDGE_SECONDS = 7.0  # for images to judge a picture, so that time is left to register and to store it


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registration made. `image_problem` says why a wanted image is missing; the account is there anyway."""

    account: Account
    image: StoredImage | None
    image_problem: Problem | None


@dataclass(frozen=True, slots=True)
class ProfileView:
    """A profile, as far as it could be had: `unavailable` names the roles ("auth", "images") that did not answer."""

    account: Account | None
    image: StoredImage | None
    unavailable: frozenset[str]


def register_with_image(*, name: str, email: str, password: str, image: UploadedFile[Any] | None) -> Registration:
    """Registers a person, with a profile image if one is given, as one action.

    The image is judged first: if it is not acceptable, nothing is registered. If the image store does not answer,
    before or after, the account is made without the image.

    Raises:
        Rejected: the image or one of the fields is not acceptable, or the email address is taken.
        Unavailable, InvalidReply: auth did not answer; nothing is known to be registered.
    """
    auth, images = clients.auth_client(), clients.images_client()
    if image is None:
        return Registration(auth.register(name=name, email=email, password=password), None, None)
    file, size = cast("BinaryIO", image.file), image.size or 0
    problem: Problem | None = None
    with context.upload_deadline() as overall:
        try:
            with context.upload_deadline_of(min(JUDGE_SECONDS, overall.remaining())):
                images.validate(file, size)
        except (Unavailable, InvalidReply) as error:
            problem = problem_of(error)
        with context.within(context.REQUEST_DEADLINE):
            account = auth.register(name=name, email=email, password=password)
        if problem is not None:
            return Registration(account, None, problem)
        try:
            return Registration(account, images.upload_for(account.id, file, size), None)
        except (Unavailable, InvalidReply, Rejected) as error:
            log.warning("registration_image_missing", account_id=str(account.id), reason=str(error))
            return Registration(account, None, problem_of(error))


def load_profile(token: str) -> ProfileView:
    """Asks auth for the account and images for the profile image, at the same time.

    Raises:
        Rejected: one of them refused the token.
    """
    deadline = context.current_deadline()
    image_answer = _at_the_same_time(lambda: clients.images_client().profile_image(token))
    missing: set[str] = set()
    account: Account | None = None
    image: StoredImage | None = None
    try:
        account = clients.auth_client().account(token)
    except (Unavailable, InvalidReply):
        missing.add("auth")
    try:
        with nullcontext() if image_answer.done() else turns.waiting():
            image = image_answer.result(timeout=max(0.0, deadline.remaining()))
    except (Unavailable, InvalidReply):
        missing.add("images")
    except TimeoutError:  # no thread came to it in time
        image_answer.cancel()
        missing.add("images")
    return ProfileView(account, image, frozenset(missing))


def close_account(token: str) -> None:
    """Removes the person's images, then the account with its sessions.

    Auth is asked first whether it is there at all. If images does not answer, nothing is closed. If auth fails between
    the two, the images are gone and the account takes no new ones; asking again ends it.

    Raises:
        Unavailable, InvalidReply: one of the roles did not answer; Rejected: the token was refused.
    """
    clients.auth_client().account(token)
    clients.images_client().close_account(token)
    clients.auth_client().close_account(token)


def _at_the_same_time(work: Callable[[], Answer]) -> Future[Answer]:
    return _executor().submit(copy_context().run, work)


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(getattr(settings, "THREADS", THREADS), thread_name_prefix="workflow")
