"""Lets each signed call in once only, across all workers and replicas of a role: they share its database.

The table is an ordinary one and not UNLOGGED: PostgreSQL empties unlogged tables after a crash and on a replica that
takes over, and every call of the last seconds could then be sent again.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from uuid import UUID

import structlog
from django.db import DatabaseError, connections, models, router

from internal.signing import WINDOW

KEPT = 2 * WINDOW  # seconds from the time of signing: one window for this clock, one for the other replicas' clocks
PURGE_INTERVAL = 30.0  # seconds between two purges of one process
PURGE_LIMIT = 5_000  # rows of one purge

log = structlog.get_logger(__name__)


class NonceStore:
    """The nonces that a role has let in.

    Args:
        model: a model with the fields `nonce` (UUID, primary key) and `expires_at` (indexed).
    """

    def __init__(self, model: type[models.Model]) -> None:
        self._model = model
        self._purging = threading.Lock()
        self._purged_at = time.monotonic()

    def first_use(self, nonce: UUID, *, signed_at: int) -> bool:
        """Whether nobody has used the nonce yet, in one statement; from then on it is used.

        Raises OperationalError if the database does not answer: a call that cannot be remembered is not let in.

        Args:
            nonce: that of a call whose signature is good.
            signed_at: the time that the signature covers, unix s.
        """
        expires_at = dt.datetime.fromtimestamp(signed_at + KEPT, dt.UTC)
        with connections[router.db_for_write(self._model)].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self._table} (nonce, expires_at) VALUES (%s, %s) ON CONFLICT DO NOTHING",  # noqa: S608
                [nonce, expires_at],
            )
            is_first: bool = cursor.rowcount == 1
        self._purge_now_and_then()
        return is_first

    def purge(self) -> int:
        """Removes nonces whose calls are too old to be let in anyway; returns how many.

        Rows that another process is removing are left to it.
        """
        with connections[router.db_for_write(self._model)].cursor() as cursor:
            cursor.execute(
                f"WITH old AS MATERIALIZED (SELECT nonce FROM {self._table} "  # noqa: S608
                "WHERE expires_at < now() ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED) "
                f"DELETE FROM {self._table} AS used USING old WHERE used.nonce = old.nonce",
                [PURGE_LIMIT],
            )
            removed: int = cursor.rowcount
        return removed

    @property
    def _table(self) -> str:
        return f'"{self._model._meta.db_table}"'

    def _purge_now_and_then(self) -> None:
        if time.monotonic() - self._purged_at < PURGE_INTERVAL or not self._purging.acquire(blocking=False):
            return
        try:
            self._purged_at = time.monotonic()
            self.purge()
        except DatabaseError as error:  # the call at hand has been let in, and shall not suffer
            log.warning("signature_nonces_not_purged", reason=type(error).__name__)
        finally:
            self._purging.release()
