"""Show the log of a role."""

from __future__ import annotations

import contextlib
import json
import time
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.layout import ROLES, State
from ops.processes import follow, last_lines

_FIRST = ("timestamp", "level", "event", "exception")


class Command(BaseCommand):
    """`manage.py logs ROLE`. On a terminal JSON lines are laid out for reading; in a pipe they come as they are."""

    help = "Show the end of a role's log, and with -f what is added to it."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=list(ROLES), metavar="ROLE", help=", ".join(ROLES))
        parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
        parser.add_argument("-n", "--lines", type=int, default=50, help="lines of the past (default: %(default)s)")
        parser.add_argument("--state", metavar="DIR", help="the state folder (default: SEAWALL_STATE or .seawall)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print lines."""
        state = State.at(options["state"]) if options["state"] else State.default()
        log = state.log(ROLES[options["role"]])
        if options["lines"] < 0:
            raise CommandError("-n is the number of lines: 0 or more.")
        if not log.exists() and not options["follow"]:
            raise CommandError(f"There is no log yet at {log}: {options['role']} was never started there.")
        readable = self.stdout.isatty()
        news = follow(log, lambda: time.sleep(0.2))
        for line in last_lines(log, options["lines"]):
            self.stdout.write(layout(line) if readable else line)
        try:
            while options["follow"]:
                line = next(news)
                self.stdout.write(layout(line) if readable else line)
                self.stdout.flush()
        except (KeyboardInterrupt, BrokenPipeError):
            return


def layout(line: str) -> str:
    """A JSON log line as time, level, event and fields; any other line as it is."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    when = str(record.get("timestamp", ""))
    with contextlib.suppress(ValueError):
        when = f"{datetime.fromisoformat(when).astimezone():%H:%M:%S}"
    fields = " ".join(f"{name}={value}" for name, value in record.items() if name not in _FIRST)
    text = f"{when} {record.get('level', ''):<8} {record.get('event', '')}  {fields}".rstrip()
    return f"{text}\n{record['exception']}" if record.get("exception") else text
