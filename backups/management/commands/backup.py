"""`manage.py backup`: both databases, kept elsewhere, and brought back."""

from __future__ import annotations

import argparse
import datetime as dt
import errno
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from types import FrameType
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from backups import catalogue, creating, inventory, pruning, restoring, verifying
from backups.catalogue import Backup, State
from backups.errors import Stopped
from backups.places import BackupPlace, place
from backups.progress import Progress, age, size
from backups.retention import Policy
from backups.verifying import Finding

HELP = """Makes backups of both databases and of the list of stored images, verifies them and restores them.

The bytes of images are not in a backup: the image store keeps them, and `images export` copies them. Neither are the
secrets: KEY_ENCRYPTION_KEYS is needed to use what was restored.

Exit status: 0 when done, 1 when something failed or is damaged, 2 for a wrong call. Every command may be interrupted
and run again; what an interrupted `create` leaves has no manifest and counts as no backup."""

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_KEEP = ("last", "daily", "weekly", "monthly")


class Interrupted(BaseException):
    """SIGTERM or SIGHUP has come."""


def span(text: str) -> dt.timedelta:
    """A time such as 90m, 24h or 2d."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give a number and a unit, such as 90m, 24h or 2d.")
    return dt.timedelta(**{_UNITS[found[2]]: int(found[1])})


def count(text: str) -> int:
    """A whole number, zero among them."""
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 999999.")
    return int(text)


def backup_id(text: str) -> str:
    """The id of a backup, or its beginning, or `latest`."""
    if text != catalogue.LATEST and not re.fullmatch(r"[0-9][0-9a-fTZ-]{0,40}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a backup: `backup list` shows them; or say latest.")
    return text


class Command(BaseCommand):
    """`manage.py backup`, under the console's settings. The work is in the modules of backups."""

    help = HELP
    requires_system_checks = ()  # they ask databases that may be empty, or away

    def add_arguments(self, parser: CommandParser) -> None:
        """One sub-command for each piece of work."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        create = actions.add_parser("create", help="make a backup of both databases, without the bytes of images")
        create.add_argument(
            "--if-older-than", type=span, metavar="AGE", help="only if the newest one is older, such as 24h"
        )

        actions.add_parser("list", help="show which backups there are, the newest first")

        verify = actions.add_parser("verify", help="read a backup, and look for its images in the store")
        verify.add_argument("id", nargs="?", type=backup_id, default=catalogue.LATEST, metavar="ID", help="or latest")
        verify.add_argument("--all", action="store_true", help="every backup")
        verify.add_argument("--quick", action="store_true", help="do not look for the images")

        restore = actions.add_parser("restore", help="put a backup in the place of what is in both databases")
        restore.add_argument("id", type=backup_id, metavar="ID", help="or latest")
        restore.add_argument("--yes", action="store_true", help="even if there is something, which is lost then")
        restore.add_argument("--keep-sessions", action="store_true", help="let people who were signed in then stay so")
        restore.add_argument("--lost-keys", action="store_true", help="even if signing keys cannot be decrypted")

        prune = actions.add_parser("prune", help="remove backups that no rule keeps, and what was broken off")
        for name in _KEEP:
            what = (
                "of the newest"
                if name == "last"
                else "the newest of so many " + ("days" if name == "daily" else f"{name[:-2]}s")
            )
            setting = f"BACKUP_KEEP_{name.upper()}"
            prune.add_argument(
                f"--keep-{name}",
                type=count,
                metavar="N",
                default=getattr(settings, setting, None),
                help=f"{what}; default: {setting}, %(default)s",
            )
        prune.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")

        for action in actions.choices.values():
            action.add_argument("--json", action="store_true", help="for programs: one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        """Does one of them."""
        self._as_json = options["json"]
        self._progress = Progress(sys.stderr)
        before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
        work: dict[str, Callable[[BackupPlace, dict[str, Any]], str | None]] = {
            "create": self._create,
            "list": self._list,
            "verify": self._verify,
            "restore": self._restore,
            "prune": self._prune,
        }
        called = "The place for backups"
        try:
            where = place()
            called = where.called
            where.require_usable(writing=False)
            failure = work[options["action"]](where, options)
        except Stopped as stopped:
            raise CommandError(str(stopped)) from stopped
        except (DatabaseError, InterfaceError, ObjectDoesNotExist) as error:
            raise CommandError(
                "A database does not answer, or not as it must. Run the same command again when it does: "
                f"{' '.join(str(error).split())}.{_noted(error)}"
            ) from error
        except BrokenPipeError:  # of `| head`, which has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            raise CommandError(f"{_capital(called)} cannot be used: {_reason(error)}.{_noted(error)}") from error
        except (KeyboardInterrupt, Interrupted) as error:
            raise CommandError(f"Interrupted.{_noted(error)}", returncode=130) from error
        finally:
            self._progress.clear()
            for number, handler in before.items():
                signal.signal(number, handler)
        if failure is not None:
            raise CommandError(failure)

    def _create(self, where: BackupPlace, options: dict[str, Any]) -> str | None:
        try:
            manifest = creating.create(
                where,
                progress=lambda done: self._progress.note(f"{size(done)} written"),
                if_older_than=options["if_older_than"],
            )
        except creating.NotDue as young:
            self._say(
                {"what": "nothing due", "age_seconds": int(young.age.total_seconds())},
                f"Nothing to do: the newest backup is {age(young.age.total_seconds())} old.",
            )
            return None
        seconds = (manifest.finished_at - manifest.started_at).total_seconds()
        self._say(
            {
                "what": "summary",
                "id": manifest.id,
                "bytes": manifest.size,
                "seconds": round(seconds, 3),
                "accounts": manifest.accounts,
                "images": manifest.images,
                "image_bytes": manifest.image_bytes,
            },
            f"Backup {manifest.id} in {where.called}: {manifest.accounts:,} accounts, {manifest.images:,} images' "
            f"records, {size(manifest.size)}, {seconds:.1f} s.",
        )
        if unknown := [key_id for key_id, mark in manifest.encryption_keys.items() if not mark]:
            return (
                f"The backup is made, but signing keys in it are encrypted with {', '.join(unknown)}, which "
                "KEY_ENCRYPTION_KEYS lacks: `signing_keys list` says which."
            )
        return None

    def _list(self, where: BackupPlace, options: dict[str, Any]) -> str | None:
        there = catalogue.backups(where)
        now = timezone.now()
        if not self._as_json:
            if not there:
                self._say({}, f"There is no backup in {where.called}.")
                return None
            self._say({}, f"{'ID':<25} {'TIME (UTC)':<19} {'AGE':>7} {'SIZE':>10} {'IMAGES':>9}  {'RELEASE':<12} STATE")
        for backup in there:
            manifest = backup.manifest
            document = {
                "id": backup.id,
                "time": backup.began.isoformat(),
                "age_seconds": int((now - backup.began).total_seconds()),
                "bytes": backup.size,
                "accounts": manifest.accounts if manifest else None,
                "images": manifest.images if manifest else None,
                "image_bytes": manifest.image_bytes if manifest else None,
                "release": manifest.release if manifest else None,
                "commit": manifest.commit if manifest else None,
                "state": backup.state.value,
                "fault": backup.fault,
            }
            images = f"{manifest.images:,}" if manifest else "?"
            self._say(
                document,
                f"{backup.id:<25} {backup.began:%Y-%m-%d %H:%M:%S} "
                f"{age((now - backup.began).total_seconds()):>7} {size(backup.size):>10} {images:>9}  "
                f"{manifest.release if manifest else '?':<12} {backup.state.value}"
                + (f": {backup.fault}" if backup.fault else ""),
            )
        return None

    def _verify(self, where: BackupPlace, options: dict[str, Any]) -> str | None:
        if options["all"]:
            chosen = [backup for backup in catalogue.backups(where) if backup.state is not State.UNFINISHED]
            if not chosen:
                return f"There is no backup in {where.called}."
        else:
            chosen = [catalogue.choose(where, options["id"])]
            if options["id"] == catalogue.LATEST:
                chosen = [*catalogue.passed_over(catalogue.backups(where), chosen[0]), *chosen]
        faulty = sum(not self._verify_one(where, backup, quick=options["quick"]) for backup in chosen)
        if not faulty:
            return None
        return f"{faulty} of {len(chosen)} backups looked at cannot be trusted; see above."

    def _verify_one(self, where: BackupPlace, backup: Backup, *, quick: bool) -> bool:
        manifest = verifying.check_pieces(where, backup, tell=self._tell, progress=self._bytes)
        document: dict[str, Any] = {"what": "summary", "id": backup.id, "pieces_ok": manifest is not None}
        if manifest is None:
            self._say(document | {"ok": False}, f"{backup.id}: damaged.")
            return False
        text = f"{backup.id}: {size(manifest.size)} read, all checksums are right, PostgreSQL reads both dumps."
        ok = True
        if not quick:
            try:
                compared = verifying.compare(where, manifest, tell=self._tell, progress=self._images, by_records=True)
            except inventory.Damaged as damaged:
                self._tell(Finding("damaged", f"{backup.id}/inventory", str(damaged)))
                return False
            ok = compared.ok
            document |= {"images": asdict(compared)}
            text += f" {_compared(compared)}"
        self._say(document | {"ok": ok}, text)
        return ok

    def _restore(self, where: BackupPlace, options: dict[str, Any]) -> str | None:
        backup = catalogue.choose(where, options["id"])
        if options["id"] == catalogue.LATEST:
            for newer in catalogue.passed_over(catalogue.backups(where), backup):
                self._tell(Finding("passed over", newer.id, newer.fault))
        chosen = restoring.Options(options["yes"], options["keep_sessions"], options["lost_keys"])
        if backup.manifest is not None:
            restoring.require_restorable(backup.manifest, chosen)
        done = restoring.restore(where, backup, chosen, tell=self._tell, progress=self._bytes)
        manifest = done.manifest
        moment = f"{manifest.started_at:%Y-%m-%d %H:%M:%S} UTC"
        lines = [
            f"Both databases are those of {moment}: {manifest.accounts:,} accounts, {manifest.images:,} images.",
            "Sessions of then live on." if chosen.keep_sessions else "Everybody has to sign in again.",
            _compared(done.compared),
        ]
        if done.compared.missing:
            lines.append("Their owners deleted them since, or the store has lost them: `images verify` names them.")
        if done.behind:
            lines.append(
                "This release has newer tables: run `migrate` and `migrate --database images` before it serves."
            )
        lines.append("Restart auth and images; look with `images verify`.")
        document = {"id": manifest.id, "images": asdict(done.compared), "migrations_due": done.behind}
        self._say({"what": "summary", **document}, " ".join(lines))
        return None

    def _prune(self, where: BackupPlace, options: dict[str, Any]) -> str | None:
        numbers = {name: options[f"keep_{name}"] for name in _KEEP}
        if not numbers["last"]:
            raise CommandError("--keep-last 0 could remove the only backup: give 1 or more.", returncode=2)
        dry_run = options["dry_run"]

        def tell(verdict: pruning.Verdict) -> None:
            verb = "kept" if verdict.stays else "would be removed" if dry_run else "removed"
            document = {"what": verb, "id": verdict.backup.id, "why": verdict.why, "bytes": verdict.backup.size}
            self._say(document, f"{verb}: {verdict.backup.id}: {verdict.why}")

        done = pruning.prune(where, Policy(**numbers), dry_run=dry_run, tell=tell)
        verb = "would be removed" if dry_run else "removed"
        self._say(
            {"what": "summary", **asdict(done)},
            f"{done.kept:,} kept, {done.removed:,} {verb} ({size(done.removed_bytes)}).",
        )
        return None

    def _bytes(self, done: int, total: int) -> None:
        self._progress.note(f"{size(done)} of {size(total)} read")

    def _images(self, done: int, total: int) -> None:
        self._progress.note(f"{done:,} of {total:,} images looked for")

    def _tell(self, finding: Finding) -> None:
        self._say({"what": finding.what, "name": finding.name, "detail": finding.detail}, str(finding))

    def _say(self, document: dict[str, Any], text: str) -> None:
        self._progress.clear()
        self.stdout.write(json.dumps(document) if self._as_json else text)
        self.stdout.flush()


def _compared(done: verifying.Compared) -> str:
    text = f"{done.images:,} images looked for in the store: {done.missing:,} missing, {done.different:,} different"
    if done.unreadable:
        text += f", {done.unreadable:,} of which it did not tell"
    return text + (f", {done.deleted:,} deleted since." if done.deleted else ".")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(signal.Signals(number).name)


def _noted(error: BaseException) -> str:
    return "".join(f" {note}" for note in getattr(error, "__notes__", ()))


def _reason(error: OSError) -> str:
    said = str(error.strerror or error)
    return f"there is no room ({said}): make some, or run `backup prune`" if error.errno in _NO_ROOM else said


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
