"""`manage.py migrate`: Django's, once at a time for each database, however many start together."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import Error, InterfaceError, OperationalError, connections

LOCK = 0x5EA_3A11_0051  # any number; of one key, so it is none of the pairs that other programs may use
LOCK_TIMEOUT = 600  # seconds
_PAUSE = 0.2  # seconds between two attempts


class Command(migrate.Command):
    """Django's `migrate` under an advisory lock of the session.

    Ten replicas that migrate when they start do it one after the other, and nine of them find nothing left to do. The
    lock belongs to the connection that migrates: who is killed gives it back with it.
    """

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds --lock-timeout to Django's options."""
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-timeout",
            type=_seconds,
            default=LOCK_TIMEOUT,
            metavar="SECONDS",
            help=f"how long to wait while another process migrates the same database (default: {LOCK_TIMEOUT})",
        )

        parser.add_argument(
            "--connect-timeout",
            type=_seconds,
            default=0.0,
            metavar="SECONDS",
            help="how long to try again while the database cannot be reached (default: 0)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrates, or says within a sentence why not.

        Raises:
            CommandError: the database cannot be reached, went away, or another process migrated it for too long.
        """
        connection = connections[options["database"]]
        told = options["verbosity"] >= 1
        try:
            self._reach(connection, options["connect_timeout"], told=told)
            with self._lock(connection, options["lock_timeout"], told=told):
                super().handle(*args, **options)
        except (OperationalError, InterfaceError) as error:
            raise CommandError(
                f"The database {_place(connection)} does not answer, or did not to the end: {_reason(error)}. Nothing "
                "of the migration at hand was applied; those before it are complete. Run `manage.py migrate` again."
            ) from error

    def _reach(self, connection: Any, timeout: float, *, told: bool) -> None:
        """Has the connection open, and asks for it again and again as long as there is time."""
        deadline = time.monotonic() + timeout
        waiting = False
        while True:
            try:
                connection.ensure_connection()
                return
            except OperationalError as error:
                if time.monotonic() >= deadline:
                    raise
                if told and not waiting:
                    self.stdout.write(
                        f"The database {_place(connection)} is not there yet ({_reason(error)}): waiting."
                    )
                    self.stdout.flush()
                waiting = True
            time.sleep(_PAUSE)

    @contextmanager
    def _lock(self, connection: Any, timeout: float, *, told: bool) -> Iterator[None]:
        """Holds the lock of a database inside the block. It asks again and again: a wait could time out."""
        deadline = time.monotonic() + timeout
        waiting = False
        while not _ask(connection, f"SELECT pg_try_advisory_lock({LOCK})"):
            if time.monotonic() >= deadline:
                raise CommandError(
                    f"Another process has been migrating the database {_place(connection)} for {timeout:g} s: wait for "
                    "its end, or give this one more time with --lock-timeout SECONDS."
                )
            if told and not waiting:
                self.stdout.write(f"Another process migrates the database {_place(connection)}: waiting for its end.")
                self.stdout.flush()
            waiting = True
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            with suppress(Error):  # a connection that is gone has given the lock back already
                _ask(connection, f"SELECT pg_advisory_unlock({LOCK})")


def _ask(connection: Any, query: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return bool(cursor.fetchone()[0])


def _place(connection: Any) -> str:
    settings = connection.settings_dict
    return f"{settings['NAME']} at {settings['HOST']}:{settings['PORT']}"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _seconds(value: str) -> float:
    with suppress(ValueError):
        if 0 <= (seconds := float(value)) <= 86_400:
            return seconds
    raise argparse.ArgumentTypeError("give a number of seconds between 0 and 86400")
