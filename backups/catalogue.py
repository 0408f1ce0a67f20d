"""Which backups there are."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from backups import manifest as manifests
from backups.errors import Stopped
from backups.manifest import Manifest
from backups.places import BackupPlace, Kept, PlaceUnavailable

LATEST = "latest"


class State(Enum):
    """How a backup is, as far as can be seen without reading it."""

    COMPLETE = "complete"
    DAMAGED = "damaged"  # a piece is missing or has another length, or the manifest is none
    NEWER = "newer"  # of a release that this one does not understand
    UNFINISHED = "unfinished"  # without a manifest: under way, or broken off


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup: what it is made of if that is known, what is there of it, and in words what is wrong with it."""

    id: str
    began: dt.datetime
    state: State
    manifest: Manifest | None
    kept: tuple[Kept, ...]
    fault: str = ""

    @property
    def size(self) -> int:
        """Bytes that it takes up."""
        return sum(kept.size for kept in self.kept)

    @property
    def touched(self) -> dt.datetime:
        """When something was written to it last."""
        return max([self.began, *(kept.modified for kept in self.kept)])


def backups(place: BackupPlace) -> list[Backup]:
    """All of them, the newest first. Names that are none of ours are passed over.

    Raises:
        OSError: the place cannot be read.
    """
    found: dict[str, list[Kept]] = defaultdict(list)
    for kept in place.kept():
        backup_id, _, piece = kept.name.partition("/")
        if piece and manifests.began(backup_id) is not None:
            found[backup_id].append(kept)
    looked_at = [_look(place, backup_id, tuple(kept)) for backup_id, kept in found.items()]
    return sorted(looked_at, key=lambda backup: backup.id, reverse=True)


def choose(place: BackupPlace, wanted: str) -> Backup:
    """The backup of that id, or of the only id that begins so; `latest` is the newest one that is complete.

    Raises:
        Stopped: there is none, or more than one.
        OSError: the place cannot be read.
    """
    there = backups(place)
    if wanted == LATEST:
        found = [backup for backup in there if backup.state is State.COMPLETE][:1]
    else:
        found = [backup for backup in there if backup.id.startswith(wanted)]
    if not found:
        what = "complete backup" if wanted == LATEST else f"backup {wanted}"
        raise Stopped(f"There is no {what} in {place.called}: `backup list` says which there are.")
    if len(found) > 1:
        raise Stopped(f"{len(found)} backups begin with {wanted}: give more of the id, as `backup list` shows it.")
    return found[0]


def passed_over(there: Iterable[Backup], chosen: Backup) -> list[Backup]:
    """The damaged ones that are newer: what `latest` would have been."""
    return [backup for backup in there if backup.state is State.DAMAGED and backup.id > chosen.id]


def _look(place: BackupPlace, backup_id: str, kept: tuple[Kept, ...]) -> Backup:
    began = manifests.began(backup_id)
    assert began is not None
    sizes = {each.name.partition("/")[2]: each.size for each in kept}
    if manifests.NAME not in sizes:
        fault = "it has no manifest: it is under way, or was broken off"
        return Backup(backup_id, began, State.UNFINISHED, None, kept, fault)
    try:
        if sizes[manifests.NAME] > manifests.LARGEST:
            raise manifests.Invalid("it is too large to be one")
        manifest = Manifest.from_json(b"".join(place.read(f"{backup_id}/{manifests.NAME}")))
        if manifest.id != backup_id:
            raise manifests.Invalid(f"it is that of {manifest.id}")
    except manifests.Newer as newer:
        return Backup(backup_id, began, State.NEWER, None, kept, f"{manifests.NAME}: {newer}")
    except manifests.Invalid as invalid:
        return Backup(backup_id, began, State.DAMAGED, None, kept, f"{manifests.NAME}: {invalid}")
    except PlaceUnavailable:
        raise
    except OSError as error:
        return Backup(
            backup_id, began, State.DAMAGED, None, kept, f"{manifests.NAME} cannot be read ({error.strerror})"
        )
    for name, piece in manifest.pieces.items():
        if name not in sizes:
            return Backup(backup_id, began, State.DAMAGED, manifest, kept, f"{name} is missing")
        if sizes[name] != piece.bytes:
            fault = f"{name} has {sizes[name]:,} bytes and not {piece.bytes:,}"
            return Backup(backup_id, began, State.DAMAGED, manifest, kept, fault)
    return Backup(backup_id, began, State.COMPLETE, manifest, kept)
