"""`manage.py images`: what keeps the store whole, for a schedule and for the operator's hands."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError

from images import store
from images.models import Removal
from images.store.base import StorageUnavailable
from images.upkeep import deriving, moving, reaping, verifying
from images.upkeep.counters import Miscount
from images.upkeep.walking import Finding, Stopped

HELP = """Keeps the stored images whole: makes avatars and cards again, verifies everything, removes what crashes
have left, moves the store to a folder and back.

Exit status: 0 when all is well, 1 when something is missing, damaged or could not be done, 2 for a wrong call. Every
command may be interrupted and run again. How far it is goes to standard error, what was found to standard output."""

DEFAULT_AGE = "1h"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_STEP_ON_TERMINAL, _STEP = 0.2, 30.0  # seconds between two notes of progress


def age(text: str) -> dt.timedelta:
    """A time such as 90m, 1h or 2d."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give a number and a unit, such as 90m, 1h or 2d.")
    span = dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
    if span < reaping.MINIMUM_AGE:
        minutes = int(reaping.MINIMUM_AGE.total_seconds()) // 60
        raise argparse.ArgumentTypeError(f"{text} is too short: uploads may be under way. Give {minutes}m or more.")
    return span


def count(text: str) -> int:
    """A whole number above zero."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero.")
    return int(text)


class Command(BaseCommand):
    """`manage.py images`, under the console's settings or those of images. The work is in images.upkeep."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """One sub-command for each piece of work."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        derive = actions.add_parser("derive", help="make avatars and cards that are missing, damaged or of an old kind")
        derive.add_argument("--all", action="store_true", help="make those of every image again")
        derive.add_argument("--dry-run", action="store_true", help="say what would be made, and make nothing")

        verify = actions.add_parser("verify", help="compare every record with what is stored; changes nothing")
        verify.add_argument("--sample", type=count, metavar="N", help="only N images, chosen at random")
        verify.add_argument("--repair-counters", action="store_true", help="set the counters of accounts right")

        reap = actions.add_parser("reap", help="remove what is left of deleted images, and what crashes have left")
        reap.add_argument(
            "--older-than", type=age, default=DEFAULT_AGE, metavar="AGE", help="such as 90m or 2d; default: %(default)s"
        )
        reap.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
        reap.add_argument(
            "--expect-many", action="store_true", help="even if more files have no record than crashes leave"
        )

        export = actions.add_parser("export", help="copy everything to a folder, with a manifest; goes on where it was")
        export.add_argument("folder", type=Path, metavar="FOLDER", help="empty, or of an earlier export")
        import_ = actions.add_parser("import", help="bring the files of a folder to the store; goes on where it was")
        import_.add_argument("folder", type=Path, metavar="FOLDER", help="of an export, or the IMAGE_ROOT of a store")

        for action in (derive, verify, reap, export, import_):
            action.add_argument("--json", action="store_true", help="for programs: one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        """Does one of them."""
        self._as_json = options["json"]
        work: dict[str, Callable[[dict[str, Any]], str | None]] = {
            "derive": self._derive,
            "verify": self._verify,
            "reap": self._reap,
            "export": self._export,
            "import": self._import,
        }
        self._progress = _Progress(sys.stderr, "files" if options["action"] == "reap" else "images")
        try:
            store.storage().require_usable()
            failure = work[options["action"]](options)
        except StorageUnavailable as error:
            raise CommandError(f"The image store cannot be used: {error}.") from error
        except (Stopped, reaping.TooMany) as stopped:
            raise CommandError(str(stopped)) from stopped
        except (OperationalError, InterfaceError) as error:
            raise CommandError(
                "The images database does not answer, or has ended the connection. Run the same command again when it "
                f"does: {str(error).strip()}"
            ) from error
        finally:
            self._progress.clear()
        if failure is not None:
            raise CommandError(failure)

    def _derive(self, options: dict[str, Any]) -> str | None:
        dry_run = options["dry_run"]
        done = deriving.derive(
            everything=options["all"], dry_run=dry_run, tell=self._tell, progress=self._progress.note
        )
        verb = "would get" if dry_run else "got"
        self._sum_up(
            asdict(done), f"{_many(done.images, 'image')} looked at: {done.remade:,} {verb} new avatar and card."
        )
        return f"For {_many(done.failed, 'image')} they could not be made; see above." if done.failed else None

    def _verify(self, options: dict[str, Any]) -> str | None:
        done = verifying.verify(
            sample=options["sample"],
            older_than=age(DEFAULT_AGE),
            repair_counters=options["repair_counters"],
            tell=self._tell,
            tell_miscount=self._tell_miscount,
            progress=self._progress.note,
        )
        kinds = ", ".join(f"{number:,} {what}" for what, number in sorted(done.findings.items()))
        lines = [
            f"{_many(done.images, 'image')} verified: {done.faults:,} with faults{f' ({kinds})' if kinds else ''}."
        ]
        if done.without_record is not None:
            lines.append(f"{_many(done.without_record, 'file')} older than {DEFAULT_AGE} without a record.")
        if waiting := Removal.objects.count():
            text = f"{_many(waiting, 'file')} of deleted images still to be removed: `images reap` does it now."
            self._say({"what": "removals waiting", "files": waiting}, text)
        self._sum_up(asdict(done) | {"ok": done.ok}, " ".join(lines))
        if done.ok:
            return None
        advice = []
        if done.faults:
            advice.append(
                "Avatars and cards are made again by `images derive`, pictures come back from a copy by `import`."
            )
        if done.miscounts:
            advice.append(f"The counters of {_many(done.miscounts, 'account')} are wrong: `verify --repair-counters`.")
        return " ".join(advice)

    def _reap(self, options: dict[str, Any]) -> str | None:
        dry_run = options["dry_run"]
        done = reaping.reap(
            older_than=options["older_than"],
            dry_run=dry_run,
            expect_many=options["expect_many"],
            tell=self._tell,
            progress=self._progress.note,
        )
        verb = "would be removed" if dry_run else "removed"
        self._sum_up(
            asdict(done),
            f"{_many(done.files, 'file')} looked at: {done.removed:,} without a record and {done.unfinished:,} "
            f"unfinished {verb} ({done.removed_bytes:,} bytes), {done.young:,} too young, {done.unknown:,} unknown."
            + (f" {_many(done.deleted, 'file')} of deleted images {verb}." if done.deleted else ""),
        )
        return f"{_many(done.failed, 'file')} could not be removed; see above." if done.failed else None

    def _export(self, options: dict[str, Any]) -> str | None:
        return self._moved(moving.export_to(options["folder"], tell=self._tell, progress=self._progress.note))

    def _import(self, options: dict[str, Any]) -> str | None:
        return self._moved(moving.import_from(options["folder"], tell=self._tell, progress=self._progress.note))

    def _moved(self, done: moving.Moved) -> str | None:
        self._sum_up(
            asdict(done),
            f"{_many(done.images, 'image')}: {_many(done.copied, 'file')} copied ({done.copied_bytes:,} bytes), "
            f"{done.present:,} there already. All were read back and compared.",
        )
        if not done.findings:
            return None
        return (
            f"{_many(done.findings, 'file')} could not be copied; see above. `images derive` makes avatars and cards."
        )

    def _tell(self, finding: Finding) -> None:
        self._say({"what": finding.what, "name": finding.name, "detail": finding.detail}, str(finding))

    def _tell_miscount(self, miscount: Miscount) -> None:
        document = asdict(miscount) | {"what": "miscounted", "account_id": str(miscount.account_id)}
        self._say(document, str(miscount))

    def _sum_up(self, document: dict[str, Any], text: str) -> None:
        self._say({"what": "summary", **document}, text)

    def _say(self, document: dict[str, Any], text: str) -> None:
        self._progress.clear()
        self.stdout.write(json.dumps(document) if self._as_json else text)
        self.stdout.flush()


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


class _Progress:
    """Says how far the work is: on a terminal in one line that changes, elsewhere in a line now and then."""

    def __init__(self, stream: Any, things: str) -> None:
        self._stream = stream
        self._things = things
        self._terminal = stream.isatty()
        self._step = _STEP_ON_TERMINAL if self._terminal else _STEP
        self._began = self._next = time.monotonic()
        self._next += self._step
        self._shown = False

    def note(self, done: int, total: int | None) -> None:
        """Hears how many are done, and of how many if that is known."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._step
        text = f"{done:,} of {total:,} {self._things}" if total is not None else f"{done:,} {self._things}"
        if total and done:
            text += f", {_clock((now - self._began) / done * max(total - done, 0))} left"
        self._stream.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
        self._stream.flush()
        self._shown = self._terminal

    def clear(self) -> None:
        """Makes room for a line of another kind."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
