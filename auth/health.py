"""Whether the auth role's database answers, and has the tables that this release needs."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.loader import MigrationLoader
from psycopg import errors
from psycopg.abc import PQGen

from auth.models import Account

TIME_LIMIT = 1.0  # seconds

_T = TypeVar("_T")


class DatabaseDown(Exception):
    """The database did not answer a query in time; the message says how it failed, without credentials."""


class MigrationsMissing(DatabaseDown):
    """The database answers, and lacks tables of this release: `manage.py migrate` has still to be run."""


class _Connection(psycopg.Connection[Any]):
    """Waits TIME_LIMIT for an answer: the server may stop at any moment, and then says nothing for ever."""

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = TIME_LIMIT) -> _T:
        return super().wait(gen, interval, timeout)


class _Check(threading.Thread):
    """One query on a connection of its own: the pool may be busy, and a lost network would hold its caller."""

    def __init__(self) -> None:
        super().__init__(name="database-check", daemon=True)
        self.fault: DatabaseDown | None = DatabaseDown(f"no answer within {TIME_LIMIT:g} s")
        self._parameters = connections[DEFAULT_DB_ALIAS].get_connection_params()

    def run(self) -> None:
        """Leaves `fault` None if the database answered and has what is needed."""
        try:
            with _Connection.connect(**self._parameters, autocommit=True) as connection:
                self.fault = _lack(connection)
        except psycopg.Error as error:
            self.fault = DatabaseDown(type(error).__name__)


def _lack(connection: _Connection) -> MigrationsMissing | None:
    query = "SELECT name FROM django_migrations WHERE app = %s"
    try:
        applied = {name for (name,) in connection.execute(query, [Account._meta.app_label])}
    except errors.UndefinedTable:
        applied = set()
    missing = sorted(_latest_migrations() - applied)
    return MigrationsMissing(f"not applied yet: {', '.join(missing)}") if missing else None


@cache
def _latest_migrations() -> set[str]:
    """Those that come last in this release."""
    graph = MigrationLoader(None, ignore_no_migrations=True).graph
    return {name for _, name in graph.leaf_nodes(Account._meta.app_label)}


_lock = threading.Lock()
_running: _Check | None = None


def database() -> None:
    """Asks the database for what is applied; callers at the same time share one question.

    Raises:
        DatabaseDown: it did not answer within TIME_LIMIT, or has not the tables that this release needs.
    """
    global _running
    with _lock:
        if _running is None or not _running.is_alive():
            _running = _Check()
            _running.start()
        check = _running
    check.join(TIME_LIMIT)
    if check.fault is not None:
        raise check.fault


def database_is_up() -> bool:
    """Whether the database answers within TIME_LIMIT, and can be used."""
    try:
        database()
    except DatabaseDown:
        return False
    return True
