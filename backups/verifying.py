"""A backup is looked through: each byte of it, what PostgreSQL makes of it, and whether the images it names exist."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from django.core.files.storage import Storage, storages

from backups import databases, inventory, programs
from backups import manifest as manifests
from backups.catalogue import Backup, State
from backups.errors import Stopped
from backups.inventory import Entry
from backups.manifest import Manifest
from backups.places import BackupPlace
from backups.programs import Children

Progress = Callable[[int, int], None]
"""Hears how many bytes or images of how many are done."""

MISSING = "missing"
DIFFERENT = "different"
UNREADABLE = "unreadable"
THREADS = 8  # that ask the store
PATIENCE = 10  # images in a row that the store does not tell about, before it is taken to be away
PAGE = 500  # ids of one query


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be: what, about which piece or stored name, and why."""

    what: str
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what}: {self.name}: {self.detail}"


Tell = Callable[[Finding], None]


def check_pieces(place: BackupPlace, backup: Backup, *, tell: Tell, progress: Progress) -> Manifest | None:
    """Reads all of a backup; the manifest if every piece has its checksum and PostgreSQL reads both dumps.

    Raises:
        Stopped: there are no programs that could read it.
        OSError: the place cannot be read.
    """
    manifest = backup.manifest
    if backup.state is not State.COMPLETE or manifest is None:
        tell(Finding(backup.state.value, backup.id, backup.fault))
        return None
    newest = max(int(dump.pg_dump.partition(".")[0]) for dump in manifest.databases.values())
    tools = programs.find(newest)
    whole = True
    done = 0
    for name, piece in manifest.pieces.items():
        digest = hashlib.sha256()
        try:
            for chunk in place.read(f"{backup.id}/{name}"):
                digest.update(chunk)
                done += len(chunk)
                progress(done, manifest.size)
        except OSError as error:
            tell(Finding(UNREADABLE, f"{backup.id}/{name}", str(error.strerror or error)))
            whole = False
            continue
        if digest.hexdigest() != piece.sha256:
            tell(Finding("damaged", f"{backup.id}/{name}", "its checksum is not that of the manifest"))
            whole = False
        elif name in manifest.databases and (fault := _unreadable(place, f"{backup.id}/{name}", tools)):
            tell(Finding("damaged", f"{backup.id}/{name}", fault))
            whole = False
    return manifest if whole else None


def _unreadable(place: BackupPlace, name: str, tools: programs.Programs) -> str:
    """Why PostgreSQL cannot read the dump's table of contents; empty if it can."""
    children = Children()
    with children.run([tools.path("pg_restore"), "--list"], {"LC_ALL": "C"}, reads=True) as running:
        chunks = place.read(name)
        with suppress(BrokenPipeError):  # the contents come first, and it reads no further
            for chunk in chunks:
                left = memoryview(chunk)
                while left:
                    left = left[running.stdin.write(left) :]
            running.stdin.close()
        chunks.close()
        listed = running.stdout.read()
        try:
            running.finish()
        except Stopped as stopped:
            return str(stopped)
    return "" if b"TABLE DATA" in listed else "it holds no data"


@dataclass(slots=True)
class Compared:
    """What came of comparing an inventory with the image store.

    Attributes:
        images: how many it names.
        missing: of these, how many are not in the store although their owners did not delete them.
        different: how many have another length there.
        unreadable: about how many the store did not tell.
        deleted: how many are not in the store because they were deleted since: they have no record any more.
    """

    images: int = 0
    missing: int = 0
    different: int = 0
    unreadable: int = 0
    deleted: int = 0

    @property
    def ok(self) -> bool:
        """Whether every image that people should have is there."""
        return not (self.missing or self.different or self.unreadable)


def compare(place: BackupPlace, manifest: Manifest, *, tell: Tell, progress: Progress, by_records: bool) -> Compared:
    """Looks for every picture of the inventory in the image store, with the length that it was recorded with.

    Avatars and cards are left out: `images derive` makes them again.

    Args:
        by_records: whether a picture that is missing and has no record in the images database any more was deleted by
            its owner; if not, or where the database is empty, it is missing.

    Raises:
        Stopped: the store does not answer.
        inventory.Damaged: the inventory is none.
        OSError: the place cannot be read.
    """
    done = Compared()
    store = storages["images"]
    entries = inventory.entries(place.read(f"{manifest.id}/{manifests.INVENTORY}"))
    missing: list[Entry] = []
    in_a_row = 0
    for entry, outcome in _in_order(store, entries):
        done.images += 1
        progress(done.images, manifest.images)
        in_a_row = in_a_row + 1 if isinstance(outcome, OSError) else 0
        if isinstance(outcome, OSError):
            done.unreadable += 1
            tell(Finding(UNREADABLE, entry.name, str(outcome.strerror or outcome)))
            if in_a_row >= PATIENCE:
                raise Stopped(
                    f"The image store does not answer ({outcome.strerror or outcome}). Look for the images later, with "
                    "`backup verify` or `images verify`."
                )
        elif outcome is None:
            missing.append(entry)
            if len(missing) >= PAGE:
                _judge(missing, done, tell, by_records=by_records)
                missing.clear()
        elif outcome != entry.bytes:
            done.different += 1
            tell(Finding(DIFFERENT, entry.name, f"it has {outcome:,} bytes and not {entry.bytes:,}"))
    _judge(missing, done, tell, by_records=by_records)
    return done


def _judge(missing: list[Entry], done: Compared, tell: Tell, *, by_records: bool) -> None:
    """Tells pictures that are lost from those that were deleted."""
    if not missing:
        return
    lost = {entry.image_id for entry in missing}
    if by_records and databases.contents().images:
        lost = _recorded(lost)
    for entry in missing:
        if entry.image_id in lost:
            done.missing += 1
            tell(Finding(MISSING, entry.name, "it is not in the image store"))
        else:
            done.deleted += 1


def _recorded(ids: set[UUID]) -> set[UUID]:
    found = databases.model("images.Image")._default_manager.filter(pk__in=ids).values_list("pk", flat=True)
    return set(found)


def _in_order(store: Storage, entries: Iterable[Entry]) -> Iterator[tuple[Entry, int | OSError | None]]:
    """Each entry with the length of its file; None if there is none. Several are asked for at a time."""
    entries = iter(entries)
    with ThreadPoolExecutor(THREADS) as pool:
        begun: deque[tuple[Entry, Future[int | OSError | None]]] = deque()
        try:
            while True:
                for entry in islice(entries, 16 * THREADS - len(begun)):
                    begun.append((entry, pool.submit(_length, store, entry.name)))
                if not begun:
                    return
                entry, length = begun.popleft()
                yield entry, length.result()
        finally:
            for _, length in begun:
                length.cancel()


def _length(store: Storage, name: str) -> int | OSError | None:
    try:
        return store.size(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
