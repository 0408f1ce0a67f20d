"""A connection of psycopg that nobody waits for longer than for the request at hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen

from internal import context

LONGEST_WAIT = 2.5  # seconds for one answer; the server itself ends a statement sooner, if it is awake
# Seconds for a rollback, or a sign of life, whose request has no time left: a sound connection can be kept.
TIDYING = 0.2

_ON = "on"
_T = TypeVar("_T")


class CommitOpen(psycopg.OperationalError):
    """A COMMIT was sent, and its answer is missing: the transaction may have been carried out."""

    outcome_is_open = True  # as internal.problems asks for it


class GivenUp(psycopg.OperationalError):
    """No answer came before the deadline of the request at hand, which was too near to say anything of the server."""


class Connection(psycopg.Connection[Any]):
    """Waits for an answer of the server until the deadline of the request at hand, and LONGEST_WAIT at most.

    Whatever the server did not answer in time has an unknown outcome, a COMMIT above all. The connection is closed
    then, so that no late answer can be taken for that of another statement. No cancel request is sent: a server that
    hangs would keep it waiting, too, and one that reaches a COMMIT waiting for a standby makes the server report
    success for what no standby has. The server notices the closed connection (client_connection_check_interval).

    A server that has become read-only has lost its connections as well: they would fail for as long as they live.
    """

    longest_wait = LONGEST_WAIT
    _at_least = 0.0

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """What the server answers.

        Raises:
            psycopg.OperationalError: no time is left, and nothing was sent; no answer came in time; the server can only
                be read, or ended the session. In all cases but the first the connection is closed.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        patience = self._patience()
        if patience <= 0:
            gen.close()
            raise psycopg.OperationalError("the deadline of the request has passed: nothing was sent to the database")
        try:
            return super().wait(gen, interval, patience)
        except errors._WaitTimeout:
            self.pgconn.finish()
            kind = GivenUp if patience < self.longest_wait else psycopg.OperationalError
            raise kind(f"no answer from the database within {patience:.2f} s") from None
        except errors.ReadOnlySqlTransaction as error:
            self.pgconn.finish()
            if pool := getattr(self, "_pool", None):
                pool.drain()
            raise psycopg.OperationalError(
                "the database can only be read: it is no primary, or not any more"
            ) from error
        except errors.IdleInTransactionSessionTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError("the database ended a session in which nothing happened") from error

    def commit(self) -> None:
        """Ends the transaction.

        Raises:
            CommitOpen: the answer is missing.
        """
        try:
            super().commit()
        except psycopg.OperationalError as error:
            if self.closed:
                raise CommitOpen(str(error)) from error
            raise

    def rollback(self) -> None:
        """Ends the transaction, also for a request that has no time left."""
        with self._tidying():
            super().rollback()

    def set_autocommit(self, value: bool) -> None:
        """Asks nothing of the server; a request that has no time left needs it to leave the connection in order."""
        with self._tidying():
            super().set_autocommit(value)

    def require_alive(self, seconds: float) -> None:
        """Asks the server for a sign of life, and whether it can be written to.

        Raises:
            GivenUp: the request at hand has less time than that, and no answer came in it.
            psycopg.OperationalError: no answer came within that time, or the server can only be read.
        """
        self.longest_wait = seconds
        try:
            with self._tidying():
                self.execute("")
        finally:
            self.longest_wait = LONGEST_WAIT
        for name in ("default_transaction_read_only", "in_hot_standby"):
            if self.info.parameter_status(name) == _ON:
                self.close()
                raise psycopg.OperationalError(f"the database can only be read: {name} is on")

    @contextmanager
    def _tidying(self) -> Iterator[None]:
        self._at_least = TIDYING
        try:
            yield
        finally:
            self._at_least = 0.0

    def _patience(self) -> float:
        """Seconds."""
        patience = self.longest_wait
        if context.request_id():  # what works for no request, as the removal of images does, has no deadline here
            patience = min(patience, context.current_deadline(patience).remaining())
        return max(patience, self._at_least)
