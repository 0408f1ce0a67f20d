"""Whether the auth role's database answers."""

from __future__ import annotations

import threading

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

TIME_LIMIT = 1.0  # seconds


class DatabaseDown(Exception):
    """The database did not answer a query in time; the message says how it failed, without credentials."""


class _Check(threading.Thread):
    """One query on a connection of its own: the pool may be busy, and a lost network would hold its caller."""

    def __init__(self) -> None:
        super().__init__(name="database-check", daemon=True)
        self.fault: str | None = f"no answer within {TIME_LIMIT:g} s"
        self._parameters = connections[DEFAULT_DB_ALIAS].get_connection_params()

    def run(self) -> None:
        """Leaves `fault` None if the database answered."""
        try:
            with psycopg.connect(**self._parameters, autocommit=True) as connection:
                connection.execute("SELECT 1")
            self.fault = None
        except psycopg.Error as error:
            self.fault = type(error).__name__


_lock = threading.Lock()
_running: _Check | None = None


def database() -> None:
    """Asks the database `SELECT 1`; callers at the same time share one question.

    Raises:
        DatabaseDown: it did not answer within TIME_LIMIT.
    """
    global _running
    with _lock:
        if _running is None or not _running.is_alive():
            _running = _Check()
            _running.start()
        check = _running
    check.join(TIME_LIMIT)
    if check.fault is not None:
        raise DatabaseDown(check.fault)


def database_is_up() -> bool:
    """Whether the database answers within TIME_LIMIT."""
    try:
        database()
    except DatabaseDown:
        return False
    return True
