"""A pool of connections that recovers at once from a restart, a fail-over and a silence of the server."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

from config.postgresql.connection import Connection, GivenUp
from internal import context


class Pool(ConnectionPool[Connection]):
    """Gives a connection that has just shown that it works, or says within `timeout` that there is none.

    The pool by itself finds dead connections one by one, and waits longer after each: with a few of them idle, callers
    would hear for minutes that a healthy server is away. If one is dead, the others are too, so all are replaced; but
    not where a request had no time to find out.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(check=self._require_alive, connection_class=Connection, open=False, **options)

    def getconn(self, timeout: float | None = None) -> Connection:
        """A connection; nobody waits for one beyond the deadline of the request at hand.

        Raises:
            psycopg_pool.PoolTimeout: there was none in time.
        """
        timeout = self.timeout if timeout is None else timeout
        if context.request_id():
            timeout = min(timeout, context.current_deadline(timeout).remaining())
        return super().getconn(timeout)

    def _require_alive(self, connection: Connection) -> None:
        try:
            connection.require_alive(self.timeout)
        except GivenUp:
            raise
        except psycopg.Error:
            self.drain()
            raise
