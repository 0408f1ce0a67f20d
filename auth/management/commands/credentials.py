"""`manage.py credentials`: housekeeping in the auth database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from auth import housekeeping


class Command(BaseCommand):
    """`credentials purge` deletes what is over. Exit status: 0 when done, 1 for a bad call or a failure."""

    help = "Deletes sessions, refresh tokens, counters of failed sign-ins and told changes that are over."

    def add_arguments(self, parser: CommandParser) -> None:
        """What can be asked for."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        actions.add_parser("purge", help="Delete what is over; safe to repeat, also at the same time")

    def handle(self, *args: Any, **options: Any) -> None:
        """Purges, and says how it goes on."""
        purged = housekeeping.purge(progress=self._tell)
        self.stdout.write(
            f"Deleted: {purged.sessions} sessions, {purged.refresh_tokens} refresh tokens, "
            f"{purged.counters} counters of failed sign-ins, {purged.changes} changes told."
        )

    def _tell(self, kind: str, deleted: int) -> None:
        self.stdout.write(f"{deleted} {kind} deleted so far …")
        self.stdout.flush()
