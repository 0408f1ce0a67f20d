"""What `stop`, `start` and `restart` have in common: one role, one request to the running `up`, one line of answer."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops import control
from ops.errors import OperatorError
from ops.layout import ROLES, State

PATIENCE_SECONDS = 120.0


class RoleCommand(BaseCommand):
    """Asks the running `up` to do `action` with a role. Exit status 0 when done, 1 when not, 3 when nothing runs."""

    action: str
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=list(ROLES), metavar="ROLE", help=", ".join(ROLES))
        parser.add_argument("--state", metavar="DIR", help="the state folder (default: SEAWALL_STATE or .seawall)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and say what it has led to."""
        state = State.at(options["state"]) if options["state"] else State.default()
        role = options["role"]
        try:
            reply = control.ask(state, {"command": self.action, "role": role}, seconds=PATIENCE_SECONDS)
        except control.NotRunning as error:
            raise CommandError(str(error), returncode=3) from error
        except OperatorError as error:
            raise CommandError(str(error)) from error
        was, now = reply["was"], reply["now"]
        self.stdout.write(
            f"{role} is {now}, as it was before." if was == now else f"{role} was {was} and is {now} now."
        )
