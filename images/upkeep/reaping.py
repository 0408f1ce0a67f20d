"""Bytes that no record names, and leftovers of writes that were cut off.

A crash leaves them: an upload whose record never committed, pictures that were being remade. Age alone would be no
proof that nobody makes a record of them yet: a process can be held up for hours. So the reaper holds the id of what it
removes, looks for the record once more, and removes the picture before its avatar and card. Whoever makes a record
holds the id, too, until the record is committed, and has made sure that the picture is there (images.library).
Whichever comes first, the other sees it. The age only spares uploads that are under way. The files of deleted images
are known by name (images.removals) and go first, whatever their age. Changes that nobody asks for any more go by the
way (internal.changes).
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final
from uuid import UUID

from django.db import router, transaction
from django.utils import timezone

from images import changes, removals, store
from images.kinds import KINDS
from images.models import Image, Removal
from images.store.base import FOLDER, Stored
from images.upkeep import walking
from images.upkeep.walking import Finding, Progress, Stopped, Tell
from internal import context
from internal.problems import ProblemError

MINIMUM_AGE: Final = dt.timedelta(minutes=10)
"""Forty times as long as an upload may take: younger bytes may get their record still."""

REMOVED, REMOVABLE, LEFT, UNKNOWN = "removed", "removable", "not removed", "left alone"

# Files that may be left behind. Crashes cut off a few uploads at a time, each of up to three files; what the wrong
# database does not know is nearly everything, in a store of any size.
_FEW, _SHARE = 100, 10  # so many whatever the store holds, else one in so many of all
_HALF_OF = 48  # from so many on, at most as many as have a record
_ALL_OF = 9  # from so many on, at most nine times as many as have a record: more than none must have one
_GOING_ON = "Run the same command again when it does."


class Kind(enum.Enum):
    """What a file that no record names is taken for."""

    LEFT_BEHIND = enum.auto()
    YOUNG = enum.auto()
    UNKNOWN = enum.auto()


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A stored file that no record names; `image_id` is what its name says, if it is a name of this store."""

    stored: Stored
    kind: Kind
    image_id: UUID | None


@dataclass(slots=True)
class Reaped:
    """What came of it: files of deleted images removed; files seen; files and bytes removed that no record names;
    leftovers of writes; what was too young, unknown, kept.
    """

    deleted: int = 0
    files: int = 0
    removed: int = 0
    removed_bytes: int = 0
    unfinished: int = 0
    young: int = 0
    unknown: int = 0
    failed: int = 0


class TooMany(Exception):
    """More is without a record than crashes leave."""


def without_record(listing: Iterable[Stored], before: dt.datetime, seen: Progress | None = None) -> Iterator[Unnamed]:
    """Those of the listing that no record names. Raises OSError as the listing does."""
    files = iter(listing)
    count = 0
    while page := list(islice(files, walking.PAGE)):
        ids = {stored.name: _image_id(stored.name) for stored in page}
        records = Image.objects.filter(id__in={image_id for image_id in ids.values() if image_id is not None})
        named = {name for image in records for name in image.stored_names}
        for stored in page:
            if stored.name not in named:
                image_id = ids[stored.name]
                young = stored.modified >= before
                kind = Kind.UNKNOWN if image_id is None else Kind.YOUNG if young else Kind.LEFT_BEHIND
                yield Unnamed(stored, kind, image_id)
        count += len(page)
        if seen is not None:
            seen(count, None)


def reap(*, older_than: dt.timedelta, dry_run: bool, expect_many: bool, tell: Tell, progress: Progress) -> Reaped:
    """Removes what deletions have not removed, and what was left behind longer ago than `older_than`.

    A dry run tells what would be removed.

    Raises:
        TooMany: more would go than crashes leave, and `expect_many` was not said. Only what was deleted is removed.
        Stopped: the store is away.
    """
    assert older_than >= MINIMUM_AGE
    before = timezone.now() - older_than
    done = Reaped()
    if not dry_run:
        changes.feed.prune()
    _finish_removals(done, dry_run, tell)
    try:
        with store.failures_named():
            if not (dry_run or expect_many):
                _refuse_too_many(before, progress)
            _reap(before, done, dry_run=dry_run, tell=tell, progress=progress)
    except ProblemError as error:
        reason = error.__cause__ or error.problem.detail
        raise Stopped(f"The image store does not answer ({reason}). {_GOING_ON}") from error
    return done


def _finish_removals(done: Reaped, dry_run: bool, tell: Tell) -> None:
    """Their age is nothing to wait for: who deleted them has been told that they are gone."""
    if dry_run:
        for removal in Removal.objects.order_by("name").iterator():
            done.deleted += 1
            tell(Finding(REMOVABLE, removal.name, f"of an image deleted at {removal.since:%Y-%m-%d %H:%M}"))
        return
    carried_out = removals.carry_out()
    done.deleted += len(carried_out.gone)
    done.failed += len(carried_out.left)
    for name in carried_out.gone:
        tell(Finding(REMOVED, name, "of a deleted image"))
    for name, reason in carried_out.left.items():
        tell(Finding(LEFT, name, reason))


def _refuse_too_many(before: dt.datetime, progress: Progress) -> None:
    files = unnamed_files = left_behind = 0

    def seen(count: int, _: int | None) -> None:
        nonlocal files
        files = count
        progress(count, None)

    for unnamed in without_record(store.listing(), before, seen):
        unnamed_files += 1
        left_behind += unnamed.kind is Kind.LEFT_BEHIND
    if _is_too_many(left_behind, files, files - unnamed_files):
        raise TooMany(
            f"{left_behind:,} of {files:,} stored files have no record, which is more than crashes leave. Is this the "
            "database that belongs to the store, and is it complete after a restore? Nothing was removed. If they are "
            "to go, look at them with --dry-run, then say --expect-many."
        )


def _is_too_many(left_behind: int, files: int, recorded: int) -> bool:
    return (
        left_behind > max(_FEW, files // _SHARE)
        or left_behind > max(_HALF_OF, recorded)
        or left_behind > max(_ALL_OF, 9 * recorded)
    )


def _reap(before: dt.datetime, done: Reaped, *, dry_run: bool, tell: Tell, progress: Progress) -> None:
    def seen(count: int, _: int | None) -> None:
        done.files = count
        progress(count, None)

    for unnamed in without_record(store.listing(), before, seen):
        if unnamed.image_id is None:
            done.unknown += 1
            tell(Finding(UNKNOWN, unnamed.stored.name, "no image has such a name; look at it and remove it by hand"))
        elif unnamed.kind is Kind.YOUNG:
            done.young += 1
        elif dry_run:
            _count(done, unnamed.stored, REMOVABLE, tell)
        else:
            _remove(unnamed.image_id, unnamed.stored, done, tell)
    for stored in store.unfinished():
        if stored.modified >= before:
            done.young += 1
            continue
        if not dry_run:
            store.discard(stored)
        done.unfinished += 1
        done.removed_bytes += stored.size
        tell(Finding(REMOVABLE if dry_run else REMOVED, stored.name, "a write that was cut off"))


def _remove(image_id: UUID, stored: Stored, done: Reaped, tell: Tell) -> None:
    """Removes a file that had no record when it was looked for, unless it has one now."""
    with transaction.atomic(using=router.db_for_write(Image)), context.deadline_of(walking.FILE_SECONDS):
        Image.objects.hold(image_id)
        image = Image.objects.filter(id=image_id).first()
        if image is not None and stored.name in image.stored_names:
            return
        names = [stored.name] if image is not None else [*_pictures(image_id), stored.name]
        for name in dict.fromkeys(names):
            there = store.look(name)
            if there is None:
                continue
            if reason := store.storage().remove([name]).get(name):
                done.failed += 1
                tell(Finding(LEFT, name, reason))
                return
            _count(done, there, REMOVED, tell)


def _count(done: Reaped, stored: Stored, what: str, tell: Tell) -> None:
    done.removed += 1
    done.removed_bytes += stored.size
    tell(Finding(what, stored.name, f"{stored.size:,} bytes of {stored.modified:%Y-%m-%d %H:%M}, without a record"))


_ID = re.compile(rf"{FOLDER}/([0-9a-f-]{{36}})\.")


def _image_id(name: str) -> UUID | None:
    if not store.NAME.fullmatch(name.removeprefix(f"{FOLDER}/")):
        return None
    found = _ID.match(name)
    return UUID(found[1]) if found else None


def _pictures(image_id: UUID) -> list[str]:
    """Under every name that the picture of this id can have."""
    return [store.names(image_id, kind.extension)[0] for kind in KINDS.values()]
