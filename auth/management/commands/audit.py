"""`manage.py audit`: how long the audit record is kept."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from auth import audit


class Command(BaseCommand):
    """`audit prune` deletes old events. Exit status: 0 when done, 1 for a bad call or a failure."""

    help = "Keeps the audit record for a limited time."

    def add_arguments(self, parser: CommandParser) -> None:
        """What can be asked for."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        prune = actions.add_parser(
            "prune",
            help="Delete the events that are older than a number of days; safe to repeat, also at the same time",
        )
        prune.add_argument(
            "--older-than-days",
            type=int,
            metavar="DAYS",
            help="default: AUDIT_RETENTION_DAYS of the environment, 365 where that is not set",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Prunes, and says how it goes on."""
        days = options["older_than_days"]
        if days is None:
            days = getattr(settings, "AUDIT_RETENTION_DAYS", None)
        if days is None:
            raise CommandError("Give --older-than-days, or run this under config.settings.console.")
        if not audit.MINIMUM_RETENTION.days <= days <= 36_500:
            raise CommandError(
                f"--older-than-days is {days}: give a number from {audit.MINIMUM_RETENTION.days}, "
                "which is what the database holds on to, to 36500."
            )
        removed = audit.prune(older_than=dt.timedelta(days=days), progress=self._tell)
        self.stdout.write(f"{removed} audit events older than {days} days deleted.")

    def _tell(self, removed: int) -> None:
        self.stdout.write(f"{removed} deleted so far …")
        self.stdout.flush()
