"""The store of image bytes: a Django storage, the entry `images` of STORAGES, in a folder or on S3.

Names are `uploads/<id>.<extension>` for the picture, and `uploads/<id>.avatar.webp`, `uploads/<id>.card.webp` beside
it, which carry a number since they are made in another way. What is stored under a name never changes.
"""

from __future__ import annotations

import datetime as dt
import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast
from uuid import UUID

import structlog
from django.core.files import File
from django.core.files.storage import storages

from images.store.base import FOLDER as FOLDER
from images.store.base import ImageStorage, Stored
from images.store.filesystem import DurableFileSystemStorage as DurableFileSystemStorage  # as STORAGES names it
from internal.problems import RETRY_AFTER, Problem, ProblemError

log = structlog.get_logger(__name__)

NAME = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(?:png|jpg|webp|gif|(?:avatar|card)(?:-[1-9][0-9]{0,4})?\.webp)"
)

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def names(image_id: UUID, extension: str, derivation: int = 1) -> tuple[str, str, str]:
    """The names of an image's picture, avatar and card in the store; with a slash in front they are its addresses."""
    stem, number = f"{FOLDER}/{image_id}", "" if derivation == 1 else f"-{derivation}"
    return f"{stem}.{extension}", f"{stem}.avatar{number}.webp", f"{stem}.card{number}.webp"


def storage() -> ImageStorage:
    """The storage that the settings name."""
    return cast(ImageStorage, storages["images"])


def prepare() -> None:
    """Makes the storage, and what a new store needs, before a role's workers are forked."""
    storage().furnish()


@contextmanager
def failures_named() -> Iterator[None]:
    """Turns what a disk or an object store says into the problem that it stands for.

    Raises:
        ProblemError: storage_full, or storage_unavailable for any other failure of the store.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            log.error("image_store_full", reason=str(error.strerror))
            detail = "The image store is full. Nothing was stored; try again later."
            raise ProblemError(Problem("storage_full", detail)) from error
        log.error("image_store_unavailable", reason=str(error.strerror))
        detail = "The image store does not answer. Nothing was stored; try again later."
        raise ProblemError(Problem("storage_unavailable", detail, retry_after=RETRY_AFTER)) from error


def put(files: Mapping[str, BinaryIO]) -> None:
    """Stores the files under their names: all of them durably, or none.

    Raises:
        ProblemError: storage_full, storage_unavailable.
    """
    begun: list[str] = []
    try:
        with failures_named():
            for name, file in files.items():
                begun.append(name)
                storage().save(name, File(file))
    except BaseException:
        remove(begun)
        raise


def find(name: str) -> tuple[File[Any], dt.datetime] | None:
    """A stored file, opened, and when it was stored; None if there is none, or something that was not stored here."""
    try:
        return storage().opened(name)
    except FileNotFoundError:
        return None


def look(name: str) -> Stored | None:
    """What is known of a stored file; None as for `find`."""
    try:
        return storage().look(name)
    except FileNotFoundError:
        return None


def remove(stored: Iterable[str]) -> dict[str, str]:
    """Removes the files, as far as they exist; returns those that could not be removed, each with the reason.

    Those stay behind without a record; that is logged, and never an error of the caller.
    """
    left = storage().remove(stored)
    for reason in sorted(set(left.values())):
        log.error("image_bytes_left_behind", reason=reason, files=list(left.values()).count(reason))
    return left


def listing() -> Iterator[Stored]:
    """Everything below `uploads/`, whatever its name, read as it is asked for. Raises OSError."""
    return storage().listing()


def unfinished() -> Iterator[Stored]:
    """Writes that have begun and not ended: those under way, and what crashes have left. Raises OSError."""
    return storage().unfinished()


def discard(stored: Stored) -> None:
    """Gives up one of the `unfinished`; no error if it is gone. Raises OSError."""
    storage().discard(stored)
