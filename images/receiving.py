"""Request bodies that are an image: read as a stream to a temporary file, counted and hashed on the way."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, cast

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError

from images import faults, limits, store
from internal.context import current_deadline
from internal.problems import Problem, ProblemError, unreadable_body

CHUNK = 64 * 1024  # bytes
DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Received:
    """A body that was read to its end: a temporary file, and its SHA-256 in hexadecimal."""

    file: BinaryIO
    sha256: str


@contextmanager
def received(request: HttpRequest) -> Iterator[Received]:
    """The body of an upload, in a temporary file that lasts as long as the block.

    Raises:
        ProblemError: length_required, image_too_large, malformed_request for a body that ends early,
            deadline_exceeded, storage_full.
    """
    length = _content_length(request)
    with store.failures_named():
        spool = cast(BinaryIO, tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR))  # noqa: SIM115
    with spool:
        digest = hashlib.sha256()
        count = 0
        while chunk := _read(request):
            count += len(chunk)
            digest.update(chunk)
            with store.failures_named():
                spool.write(chunk)
        if count != length:
            raise ProblemError(_cut_off())
        with store.failures_named():
            spool.seek(0)
        yield Received(spool, digest.hexdigest())


def drain(request: HttpRequest) -> None:
    """Reads and forgets what the client is still sending, within bounds, so that it gets to see its answer.

    A server that closes a connection on which data arrives resets it, and the answer is lost with it.
    """
    until = time.monotonic() + DRAIN_SECONDS
    left = DRAIN_BYTES
    with suppress(UnreadablePostError):
        while left > 0 and time.monotonic() < until and (chunk := request.read(CHUNK)):
            left -= len(chunk)


def _content_length(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length:
        raise ProblemError(Problem("length_required", "Send the image with a Content-Length."))
    if not length.isdecimal():
        raise ProblemError(Problem("malformed_request", "Content-Length must be a whole number."))
    if int(length) > limits.MAX_BYTES:
        raise faults.image_too_large()
    return int(length)


def _read(request: HttpRequest) -> bytes:
    if current_deadline().remaining() <= 0:
        raise faults.deadline_exceeded("The image took too long to arrive. Try again over a faster connection.")
    try:
        return request.read(CHUNK)
    except UnreadablePostError as error:
        raise ProblemError(unreadable_body(error)) from None


def _cut_off() -> Problem:
    return Problem("malformed_request", "The body ended before its Content-Length.")
