"""Avatars and cards, made again where they are missing, damaged, or not those of now."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from django.conf import settings
from PIL import Image as Picture

from images import derivatives, gif, library, limits, store, webp
from images.models import Image
from images.stills import Still
from images.upkeep import content, walking
from images.upkeep.walking import DAMAGED, MISSING, Finding, Progress, Tell
from internal import context
from internal.problems import ProblemError

REMADE, FAILED = "remade", "not made"
_GOING_ON = "What was made is kept; run the same command again, and it goes on with the rest."
_FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}


@dataclass(slots=True)
class Derived:
    """How many images were looked at, how many needed new pictures and got them, and how many could not get them."""

    images: int = 0
    remade: int = 0
    failed: int = 0


class _Unusable(Exception):
    """The picture cannot be read; the message says why."""


def derive(*, everything: bool, dry_run: bool, tell: Tell, progress: Progress) -> Derived:
    """Makes avatar and card of each image that needs them, or of `everything`. A dry run tells what would be made.

    Raises:
        Stopped: the store is away or full.
    """
    total = Image.objects.count()
    done = Derived()
    outage = walking.Outage(_GOING_ON)
    with closing(walking.in_order(_needs_new, walking.records())) as looked_at:
        for image, faults in looked_at:
            outage.note(faults)
            done.images += 1
            progress(done.images, total)
            if everything or faults:
                reason = "; ".join(fault.detail for fault in faults) or "all are made again"
                _derive_one(image, Finding(REMADE, image.stored_names[0], reason), dry_run, done, outage, tell)
    return done


def _needs_new(image: Image) -> list[Finding]:
    if image.derivation != derivatives.DERIVATION:
        now = f"avatar and card are of derivation {image.derivation}, and {derivatives.DERIVATION} is made now"
        return [Finding(DAMAGED, image.stored_names[0], now)]
    return content.derivative_faults(image)


def _derive_one(
    image: Image, remade: Finding, dry_run: bool, done: Derived, outage: walking.Outage, tell: Tell
) -> None:
    try:
        with context.deadline_of(walking.FILE_SECONDS):
            if dry_run:
                made = Image.objects.filter(id=image.id).exists()
            else:
                with _made(image) as (avatar, card):
                    made = library.store_derivatives(image.id, avatar, card)
    except _Unusable as reason:
        if Image.objects.filter(id=image.id).exists():
            done.failed += 1
            tell(Finding(FAILED, image.stored_names[0], str(reason)))
    except ProblemError as error:
        if error.problem.code == "storage_full":
            raise walking.Stopped(f"The image store is full: make room in it. {_GOING_ON}") from error
        done.failed += 1
        fault = content.unreadable(image.stored_names[0], error)
        tell(Finding(FAILED, fault.name, fault.detail))
        outage.note([fault])
    else:
        if made:
            done.remade += 1
            tell(remade)


@contextmanager
def _made(image: Image) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Avatar and card of the stored picture, in temporary files."""
    with _temporary() as avatar, _temporary() as card:
        still = _still(image)
        for kind, target in ((derivatives.AVATAR, avatar), (derivatives.CARD, card)):
            derivatives.save(kind.made(still), target)
            target.seek(0)
        del still
        yield avatar, card


def _still(image: Image) -> Picture.Image:
    """The stored picture, or its first frame: upright, in sRGB and clean, since it was made here."""
    name = image.stored_names[0]
    with store.failures_named(), _temporary() as copy:
        found = store.find(name)
        if found is None:
            raise _Unusable(f"the picture is {MISSING}")
        with found[0] as file:
            for chunk in file.chunks():
                copy.write(chunk)
        fault = content.difference(content.digest(copy), content.Digest.recorded(image))
        if fault is not None:
            raise _Unusable(f"the picture is {DAMAGED}: {fault}")
        copy.seek(0)
        try:
            if image.extension == "gif":
                return gif.first_frame(gif.parse(copy, most_frames=limits.MAX_FRAMES))
            header = webp.parse(copy)
            if header is not None and not header.durations:
                return Still("WEBP", copy, header).still()  # which needs much less memory than Pillow does
            still = Picture.open(copy, formats=(_FORMATS[image.extension],))
            still.load()
        except Exception as error:
            raise _Unusable("the picture cannot be decoded") from error
        return still


def _temporary() -> BinaryIO:
    return cast(BinaryIO, tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR))
