"""A store moves: from the configured one to a folder, and from a folder to the configured one.

The folder is laid out as a store in the file system is, so each can take the place of the other. A file appears there
under its name only when it is whole and on the disk; what a killed run leaves is in `incoming/`, and the next run
removes it. What is there already is compared, and not copied again. What was written is read back.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

from django.core.files import File
from django.core.files.storage import FileSystemStorage

from images import store
from images.models import Image
from images.store import DurableFileSystemStorage
from images.store.base import FOLDER, ImageStorage
from images.upkeep import content, walking
from images.upkeep.content import Digest
from images.upkeep.walking import DAMAGED, MISSING, UNREADABLE, Finding, Progress, Stopped, Tell

MANIFEST = "manifest.jsonl"
_PART = f"{MANIFEST}.part"
_OURS = {FOLDER, DurableFileSystemStorage.INCOMING, MANIFEST, _PART}
_GOING_ON = "What was copied is kept: run the same command again, and it goes on with the rest."
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(slots=True)
class Moved:
    """How many images were gone through; how many files were copied, and their bytes; how many were there already.

    `findings` counts files that are not where they were to be brought, and why was told.
    """

    images: int = 0
    copied: int = 0
    copied_bytes: int = 0
    present: int = 0
    findings: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where files are brought from, or to: `called` is for messages."""

    storage: ImageStorage
    called: str

    def failure(self, error: OSError) -> Stopped:
        """Why nothing can be written here any more."""
        if error.errno in _NO_ROOM:
            return Stopped(f"There is no room in {self.called}: make some, or use a larger one. {_GOING_ON}")
        return Stopped(f"{self.called} cannot be written to ({_reason(error)}). {_GOING_ON}")


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file of one place: open, read once, and what is wrong with it."""

    file: File[Any]
    digest: Digest
    fault: str | None


@dataclass(slots=True)
class _Outcome:
    """The files of one image that are where they belong, by name; which of them were copied; what is wrong."""

    digests: dict[str, Digest] = field(default_factory=dict)
    copied: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def export_to(folder: Path, *, tell: Tell, progress: Progress) -> Moved:
    """Copies every stored file of every record to the folder, and writes the manifest: a line for each of them.

    Raises:
        Stopped: the folder cannot be used or is full, or the store is away.
    """
    with _exclusive(folder, _checked_for_export):
        there = _folder(folder)
        for stored in there.storage.unfinished():  # of an earlier run, since only one works here at a time
            there.storage.discard(stored)
        try:
            with (folder / _PART).open("w", encoding="utf-8") as manifest:
                done = _bring_all(_configured(), there, tell=tell, progress=progress, manifest=manifest)
                manifest.flush()
                os.fsync(manifest.fileno())
            (folder / _PART).rename(folder / MANIFEST)
            _sync(folder)
        except OSError as error:
            raise there.failure(error) from error
    return done


def import_from(folder: Path, *, tell: Tell, progress: Progress) -> Moved:
    """Brings the files of every record from the folder to the store, where they are not there and whole already.

    What belongs to no record is left in the folder: a deleted image does not come back.

    Raises:
        Stopped: the folder cannot be used, or the store is away or full.
    """
    with _exclusive(folder, _checked_for_import), _manifest_of(folder) as known:
        return _bring_all(_folder(folder), _configured(), tell=tell, progress=progress, known=known, replace=False)


def _bring_all(
    source: _Place,
    target: _Place,
    *,
    tell: Tell,
    progress: Progress,
    manifest: TextIO | None = None,
    known: Callable[[Image], Mapping[str, str]] = lambda image: {},
    replace: bool = True,
) -> Moved:
    done = Moved()
    total = Image.objects.count()
    outage = walking.Outage(_GOING_ON)
    images = ((image, known(image)) for image in walking.records())
    with closing(walking.in_order(partial(_bring, source, target, replace), images)) as brought:
        for (image, _), outcome in brought:
            done.images += 1
            progress(done.images, total)
            if (outcome.copied or outcome.findings) and not Image.objects.filter(id=image.id).exists():
                target.storage.remove(image.stored_names)  # it was deleted meanwhile
                continue
            for finding in outcome.findings:
                tell(finding)
            outage.note(outcome.findings)
            done.findings += len(outcome.findings)
            done.copied += len(outcome.copied)
            done.copied_bytes += sum(outcome.digests[name].size for name in outcome.copied)
            done.present += len(outcome.digests) - len(outcome.copied)
            if manifest is not None:
                for name, digest in outcome.digests.items():
                    manifest.write(json.dumps({"name": name, "bytes": digest.size, "sha256": digest.sha256}) + "\n")
    return done


def _bring(source: _Place, target: _Place, replace: bool, item: tuple[Image, Mapping[str, str]]) -> _Outcome:
    image, known = item
    outcome = _Outcome()
    recorded: Digest | None = Digest.recorded(image)
    for name in image.stored_names:
        try:
            _bring_one(source, target, name, recorded, known.get(name), outcome, replace=replace)
        except OSError as error:
            outcome.findings.append(Finding(UNREADABLE, name, _reason(error)))
        recorded = None  # the picture comes first; of avatar and card nothing is recorded
    return outcome


def _bring_one(
    source: _Place,
    target: _Place,
    name: str,
    recorded: Digest | None,
    known: str | None,
    outcome: _Outcome,
    *,
    replace: bool,
) -> None:
    """Brings a file that is not at the target, or not whole; another whole avatar or card only to `replace` it."""
    with ExitStack() as files:
        there = _look(files, target, name, recorded)
        if there is not None and there.fault is None and (recorded is not None or not replace):
            outcome.digests[name] = there.digest
            return
        here = _look(files, source, name, recorded)
        fault = None if here is None else here.fault
        if here is not None and fault is None and known not in {None, here.digest.sha256}:
            fault = "its checksum is not that of the manifest"
        if here is None or fault is not None:
            if there is not None and there.fault is None:
                outcome.digests[name] = there.digest
            elif here is None:
                outcome.findings.append(Finding(MISSING, name, f"it is not in {source.called}"))
            else:
                outcome.findings.append(Finding(DAMAGED, name, f"in {source.called}, {fault}"))
            return
        if there is None or there.digest != here.digest:
            _write(target, name, here)
            outcome.copied.append(name)
        outcome.digests[name] = here.digest


def _look(files: ExitStack, place: _Place, name: str, recorded: Digest | None) -> _Seen | None:
    """A file of that place, open until `files` are closed: the picture if it is `recorded`, else avatar or card."""
    try:
        file = files.enter_context(place.storage.opened(name)[0])
    except FileNotFoundError:
        return None
    digest = content.digest(file)
    if recorded is not None:
        return _Seen(file, digest, content.difference(digest, recorded))
    fault = content.derivative_fault(file)
    return _Seen(file, digest, None if fault is None else f"it {fault}")


def _write(target: _Place, name: str, seen: _Seen) -> None:
    seen.file.seek(0)
    try:
        target.storage.save(name, seen.file)
        with target.storage.opened(name)[0] as file:
            written = content.digest(file)
    except OSError as error:
        raise target.failure(error) from error
    if written != seen.digest:
        target.storage.remove([name])
        raise Stopped(f"What was written to {target.called} as {name} comes back changed: check its disk. {_GOING_ON}")


def _configured() -> _Place:
    return _Place(store.storage(), "the image store")


def _folder(folder: Path) -> _Place:
    return _Place(DurableFileSystemStorage(folder), str(folder))


@contextmanager
def _manifest_of(folder: Path) -> Iterator[Callable[[Image], Mapping[str, str]]]:
    """Asks the manifest of the folder for the checksums of an image's files; nothing is known without a manifest.

    Images are asked for in the order of their ids, which is that of the manifest: it is read once, line by line.
    """
    path = folder / MANIFEST
    with _opened(path) as lines:
        entries = _entries(path, lines)
        ahead = next(entries, None)

        def known(image: Image) -> dict[str, str]:
            nonlocal ahead
            found = {}
            while ahead is not None and ahead[0] <= image.id:
                if ahead[0] == image.id:
                    found[ahead[1]] = ahead[2]
                ahead = next(entries, None)
            return found

        yield known


def _opened(path: Path) -> AbstractContextManager[Iterable[bytes]]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return nullcontext(())
    except OSError as error:
        raise Stopped(_no_manifest(path, _reason(error))) from error


def _entries(path: Path, lines: Iterable[bytes]) -> Iterator[tuple[UUID, str, str]]:
    last: UUID | None = None
    for number, line in enumerate(_read(path, lines), 1):
        try:
            entry = json.loads(line)
            name, sha256 = str(entry["name"]), str(entry["sha256"])
            image_id = UUID(name.removeprefix(f"{FOLDER}/")[:36])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Stopped(_no_manifest(path, f"line {number} is not one of it")) from None
        if last is not None and image_id < last:
            raise Stopped(_no_manifest(path, f"line {number} is out of order"))
        last = image_id
        yield image_id, name, sha256


def _read(path: Path, lines: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from lines
    except OSError as error:
        raise Stopped(_no_manifest(path, _reason(error))) from error


def _no_manifest(path: Path, reason: str) -> str:
    return (
        f"{path} is not a manifest as an export writes it: {reason}. Export again, or put it aside: without it, "
        "pictures are compared with their records, and avatars and cards are decoded."
    )


@contextmanager
def _exclusive(folder: Path, checked: Callable[[Path], None]) -> Iterator[None]:
    """The folder, found fit by `checked`, for one run at a time.

    Raises:
        Stopped: it is not fit, or another run works there.
    """
    try:
        checked(folder)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Stopped(f"{folder} cannot be used: {_reason(error)}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Stopped(f"Another export or import works with {folder}: wait for its end.") from None
    except OSError:  # a network folder without locks
        pass
    try:
        yield
    finally:
        os.close(handle)


def _checked_for_export(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise Stopped(f"{folder} is a file: name a folder.")
    if not folder.parent.is_dir():
        raise Stopped(f"{folder.parent} does not exist: make it first.")
    folder.mkdir(mode=0o700, exist_ok=True)
    _not_the_store(folder)
    with os.scandir(folder) as entries:
        other = next((entry.name for entry in entries if entry.name not in _OURS), None)
    if other is not None:
        raise Stopped(f"{folder} holds something else ({other}). Name an empty folder, or one of an earlier export.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Stopped(f"{folder} is not writable: change its permissions, or name another folder.")


def _checked_for_import(folder: Path) -> None:
    if not (folder / FOLDER).is_dir():
        raise Stopped(f"{folder} has no folder {FOLDER}: name the folder of an export, or the IMAGE_ROOT of a store.")
    _not_the_store(folder)


def _not_the_store(folder: Path) -> None:
    configured = store.storage()
    root = configured.location if isinstance(configured, FileSystemStorage) else None
    if root is not None and os.path.exists(root) and os.path.samefile(root, folder):
        raise Stopped(f"{folder} is the image store itself: name another folder.")


def _reason(error: OSError) -> str:
    return str(error.strerror or error)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
