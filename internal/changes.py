"""Which accounts of a role's database have changed since somebody last asked: exactly, and whoever changed them.

Triggers of the role's migrations write a row for each account that a transaction changes. A position is the snapshot
(pg_current_snapshot) of the answer that gave it: what was not visible in it and is visible now has been committed in
between. So nothing is missed that began before the last answer and ended after it, and nothing is told twice.

Source: PostgreSQL, "Transaction ID and Snapshot Information Functions"; the same since version 13.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog
from django.db import DataError, ProgrammingError, connections, models, router

from internal.contracts import Changes
from internal.problems import Problem, ProblemError, invalid_field

MOST_ACCOUNTS: Final = 1_000  # of one answer; more of them are everything
MOST_RUNNING: Final = 100  # transactions that a position names; with more of them it tells from the oldest one on
KEPT: Final = "1 hour"  # for how long changes are kept at least
BATCH: Final = 10_000  # rows that one transaction prunes
EVERYTHING: Final = UUID(int=0)  # stands for all accounts, in a row
NEVER: Final = "1-1-"  # a position before every change

_POSITION = re.compile(rf"[0-9]{{1,20}}-[0-9]{{1,20}}-([0-9]{{1,20}}(\.[0-9]{{1,20}}){{0,{MOST_RUNNING - 1}}})?")

log = structlog.get_logger(__name__)

# One statement, so that everything in it is of one snapshot. Rows from `xmax` on came with a copy from another server:
# no such transaction was seen here. A server that crashed keeps its start time and begins new statistics; it may give
# the number of a transaction that was rolled back just before once more. ALTER TABLE … USING changes rows without a
# trigger, and gives the table another file.
_SINCE = """
    SELECT pg_current_snapshot()::text,
        concat_ws(' ', extract(epoch FROM pg_postmaster_start_time())::text,
            extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time())::text,
            (SELECT oid FROM pg_database WHERE datname = current_database()), '{table}'::regclass::oid, tell.which,
            (SELECT string_agg(relfilenode::text, '.' ORDER BY oid) FROM pg_class WHERE oid = ANY ({watched}))),
        tell.number = {triggers}
            AND pg_snapshot_xmax(%(after)s::pg_snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
            AND NOT EXISTS (
                SELECT FROM {table}_pruned
                WHERE xid >= pg_snapshot_xmin(%(after)s::pg_snapshot) AND xid < pg_snapshot_xmax(pg_current_snapshot())
            ),
        ARRAY(
            SELECT DISTINCT account FROM {table}
            WHERE xid >= pg_snapshot_xmin(%(after)s::pg_snapshot) AND xid < pg_snapshot_xmax(pg_current_snapshot())
                AND NOT pg_visible_in_snapshot(xid, %(after)s::pg_snapshot)
            LIMIT {limit}
        )
    FROM (
        SELECT count(*) AS number, string_agg(concat(oid, '.', xmin), ' ' ORDER BY oid) AS which
        FROM pg_trigger
        WHERE tgrelid = ANY ({watched}) AND tgname ^@ 'tell_' AND tgenabled IN ('O', 'A')
    ) AS tell
"""

# First it is written up to where changes may be missing, then they go. What is from `xmax` on came with a copy, again.
_ANNOUNCE = """
    INSERT INTO {table}_pruned (xid)
    SELECT xid FROM {table}
    WHERE at < now() - interval '{kept}' AND xid < pg_snapshot_xmax(pg_current_snapshot()) ORDER BY xid DESC LIMIT 1
    ON CONFLICT DO NOTHING
"""
_PRUNE = """
    WITH old AS MATERIALIZED (
        SELECT xid, ctid AS place FROM {table}
        WHERE xid >= %(first)s::xid8 AND at < now() - interval '{kept}' AND (
            xid <= (
                SELECT xid FROM {table}_pruned
                WHERE xid < pg_snapshot_xmax(pg_current_snapshot()) ORDER BY xid DESC LIMIT 1
            )
            OR xid >= pg_snapshot_xmax(pg_current_snapshot())
        )
        ORDER BY xid LIMIT {batch}
    ), gone AS (
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT place FROM old))
    )
    SELECT count(*), (SELECT xid FROM old ORDER BY xid DESC LIMIT 1)::text FROM old
"""
_FORGET = """
    DELETE FROM {table}_pruned
    WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()) OR xid < (
        SELECT xid FROM {table}_pruned
        WHERE xid < pg_snapshot_xmax(pg_current_snapshot()) ORDER BY xid DESC LIMIT 1
    )
"""


class ChangeFeed:
    """The changes of one role's database.

    Args:
        table: where its triggers write, with the columns `xid`, `account` and `at`.
        watched: the models that have such triggers.
        triggers: how many they are together. Where one is missing or disabled, everything may have changed.
    """

    def __init__(self, table: str, watched: Sequence[type[models.Model]], *, triggers: int) -> None:
        self._model = watched[0]
        names = ", ".join(f"'{model._meta.db_table}'" for model in watched)
        tables = f"ARRAY[{names}]::regclass[]"
        self._since = _SINCE.format(table=table, watched=tables, triggers=triggers, limit=MOST_ACCOUNTS + 1)
        self._announce = _ANNOUNCE.format(table=table, kept=KEPT)
        self._prune = _PRUNE.format(table=table, kept=KEPT, batch=BATCH)
        self._forget = _FORGET.format(table=table)
        self._told_missing = False

    def since(self, after: str | None) -> Changes:
        """What has changed in transactions that were committed since the answer that gave the position `after`.

        Call it outside of a transaction: its own changes are not told.

        Raises:
            ProblemError: invalid_input for a position that is none.
        """
        if after is not None and not _POSITION.fullmatch(after):
            raise ProblemError(_not_a_position())
        position = after or NEVER
        try:
            with connections[router.db_for_write(self._model)].cursor() as cursor:
                cursor.execute(self._since, {"after": position.replace("-", ":").replace(".", ",")})
                snapshot, source, is_known, accounts = cursor.fetchone()
        except DataError:
            raise ProblemError(_not_a_position()) from None
        except ProgrammingError as error:  # this release runs before its migrations
            return self._unknown(error)
        everything = position == NEVER or not is_known or len(accounts) > MOST_ACCOUNTS or EVERYTHING in accounts
        return Changes(
            epoch=hashlib.sha256(source.encode()).hexdigest()[:32],
            position=_position(snapshot),
            accounts=() if everything else tuple(accounts),
            all=everything,
        )

    def prune(self) -> int:
        """Deletes changes that nobody asks for any more, in short transactions; returns how many rows they were."""
        pruned, first, count = 0, "0", BATCH
        with connections[router.db_for_write(self._model)].cursor() as cursor:
            cursor.execute(self._announce)
            while count == BATCH:
                cursor.execute(self._prune, {"first": first})
                count, first = cursor.fetchone()
                pruned += count
            cursor.execute(self._forget)
        return pruned

    def _unknown(self, error: ProgrammingError) -> Changes:
        if not self._told_missing:
            self._told_missing = True
            log.error("changes_unknown", reason=str(error).strip().splitlines()[:1])
        return Changes(epoch="unknown", position=NEVER, accounts=(), all=True)


def _position(snapshot: str) -> str:
    xmin, xmax, running = snapshot.split(":")
    if running.count(",") >= MOST_RUNNING:
        xmax, running = xmin, ""
    return f"{xmin}-{xmax}-{running.replace(',', '.')}"


def _not_a_position() -> Problem:
    message = "This is not a position of this feed. Start without one."
    return invalid_field("after", "invalid", message)
