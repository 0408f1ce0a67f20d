"""The database backend that DATABASES names; Django looks for `base.DatabaseWrapper` in it."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):
    """Connections of a pool that recovers at once from a restart of the server.

    The pool finds dead connections one by one, and waits longer after each: with a few of them idle, callers would hear
    for minutes that a healthy server is away. If one is dead, the others are too, so all of them are replaced.
    """

    @property
    def pool(self) -> Any:
        """The pool of this process; None where the settings want none."""
        pool = super().pool
        if pool is not None and getattr(pool, "_check", None) is ConnectionPool.check_connection:

            def check(connection: Any) -> None:
                try:
                    ConnectionPool.check_connection(connection)
                except Exception:
                    pool.drain()
                    raise

            pool._check = check
        return pool
