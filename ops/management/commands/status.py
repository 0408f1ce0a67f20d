"""Show what runs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops import control
from ops.layout import State
from ops.supervised import RoleStatus


class Command(BaseCommand):
    """`manage.py status`. Exit status 0 when every role is ready, 1 when one is not, 3 when nothing runs."""

    help = "Show every role: state, process, port, restarts, memory. Exit 0: all ready; 1: not all; 3: nothing runs."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--state", metavar="DIR", help="the state folder (default: SEAWALL_STATE or .seawall)")
        parser.add_argument("--json", action="store_true", help="one JSON document for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask the running `up` and print."""
        state = State.at(options["state"]) if options["state"] else State.default()
        try:
            reply = control.ask(state, {"command": "status"}, seconds=10)
        except control.NotRunning as error:
            if options["json"]:
                self.stdout.write(json.dumps({"pid": None, "roles": []}))
            raise CommandError(str(error), returncode=3) from error
        except control.Refused as error:
            raise CommandError(str(error)) from error
        roles: list[RoleStatus] = reply["roles"]
        self.stdout.write(json.dumps(reply, indent=2) if options["json"] else table(roles))
        if not all(role["ready"] for role in roles):
            sys.exit(1)


def table(roles: list[RoleStatus]) -> str:
    """The roles as aligned columns, with the sum of the memory."""
    rows = [("ROLE", "STATE", "PID", "PORT", "MGMT", "SINCE", "RESTARTS", "MEMORY", "LAST EXIT")]
    rows += [
        (
            role["role"],
            role["state"],
            str(role["pid"] or "-"),
            str(role["port"]),
            str(role["management_port"] or "-"),
            _duration(time.time() - role["since"]),
            str(role["restarts"]),
            _megabytes(role["memory"]),
            role["last_exit"] or "-",
        )
        for role in roles
    ]
    total = sum(role["memory"] or 0 for role in roles)
    rows.append(("together", "", "", "", "", "", "", _megabytes(total), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1_000_000:.0f} MB"


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
