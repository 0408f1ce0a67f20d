"""Old backups go, and what is left of those that were broken off."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from django.utils import timezone

from backups import databases
from backups import manifest as manifests
from backups.catalogue import Backup, State, backups
from backups.places import BackupPlace
from backups.retention import Policy, kept

LEFT_BEHIND = dt.timedelta(days=1)  # without a manifest for so long: nobody works on it any more


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a backup, and why."""

    backup: Backup
    stays: bool
    why: str


@dataclass(slots=True)
class Pruned:
    """How many stay, how many went, and the bytes that these took up."""

    kept: int = 0
    removed: int = 0
    removed_bytes: int = 0


def prune(place: BackupPlace, policy: Policy, *, dry_run: bool, tell: Callable[[Verdict], None]) -> Pruned:
    """Removes the complete backups that the policy does not keep, and those without a manifest that are a day old.

    Damaged ones are left alone, and those of a newer release or of the future: somebody has to look at them. They count
    for nothing.

    Raises:
        Stopped: another create, restore or prune is at work.
        OSError: the place cannot be read, or something could not be removed.
    """
    place.require_usable(writing=True)
    done = Pruned()
    with databases.only_one():
        now = timezone.now()
        there = backups(place)
        complete = [
            (backup.id, backup.began) for backup in there if backup.state is State.COMPLETE and backup.began <= now
        ]
        reasons = kept(complete, policy)
        for backup in there:
            verdict = _verdict(backup, reasons, now)
            tell(verdict)
            if verdict.stays:
                done.kept += 1
                continue
            if not dry_run:
                remove(place, backup)
            done.removed += 1
            done.removed_bytes += backup.size
        if not dry_run:
            place.discard_unfinished(before=now - LEFT_BEHIND)
    return done


def remove(place: BackupPlace, backup: Backup) -> None:
    """Removes a backup, its manifest first: what an interruption leaves is none."""
    place.remove(sorted((kept.name for kept in backup.kept), key=lambda name: not name.endswith(f"/{manifests.NAME}")))


def _verdict(backup: Backup, reasons: dict[str, list[str]], now: dt.datetime) -> Verdict:
    if backup.state is State.COMPLETE:
        if backup.began > now:
            return Verdict(backup, True, "its time is yet to come: a clock was wrong")
        why = reasons.get(backup.id)
        return Verdict(backup, why is not None, ", ".join(why) if why else "no rule keeps it")
    if backup.state is State.UNFINISHED:
        if now - backup.touched > LEFT_BEHIND:
            return Verdict(backup, False, "it was broken off")
        return Verdict(backup, True, "it has no manifest yet")
    return Verdict(backup, True, backup.fault)
