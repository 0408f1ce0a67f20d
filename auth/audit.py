"""The record of what happened to credentials: append-only, and without secrets, names or email addresses.

Each event is also a line in the log once it is committed, so that a second copy leaves the database at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from django.db import connections, router, transaction

from auth import rows
from auth.models import AuditEvent
from internal import context

What = AuditEvent.What

MINIMUM_RETENTION: Final = dt.timedelta(days=30)
"""What the database holds on to whoever asks: migration 0003 has the same number."""

PRUNING_BATCH: Final = 5_000  # events

log = structlog.get_logger(__name__)


def record(
    what: AuditEvent.What,
    *,
    account_id: UUID | None = None,
    session_id: UUID | None = None,
    address: str | None = None,
    details: Mapping[str, str | int | list[str]] | None = None,
) -> None:
    """Appends an event, with the id of the request at hand; it stands or falls with the caller's transaction.

    Args:
        what: what happened.
        account_id: whose account, if it is known.
        session_id: which session, if it is about one.
        address: the network address it came from, if known; else that of the request at hand.
        details: short facts; never a password, token, name or email address.
    """
    came_from = (address or context.client_address()).partition("%")[0]
    event = rows.insert(
        AuditEvent(
            what=what,
            account_id=account_id,
            session_id=session_id,
            address=came_from or None,
            request_id=context.request_id(),
            details=dict(details or {}),
        )
    )
    transaction.on_commit(partial(_log, event), using=router.db_for_write(AuditEvent))


def prune(*, older_than: dt.timedelta, progress: Callable[[int], None] = lambda removed: None) -> int:
    """Deletes the events that are older, in transactions of PRUNING_BATCH; returns how many.

    The database adds an event about each transaction by itself. Several may prune at once: each takes what no other one
    has taken.

    Args:
        older_than: at least MINIMUM_RETENTION.
        progress: called after each transaction with the number deleted so far.

    Raises:
        ValueError: `older_than` is less than the database allows.
    """
    if older_than < MINIMUM_RETENTION:
        raise ValueError(f"audit events are kept for {MINIMUM_RETENTION.days} days at least")
    removed = 0
    while batch := _prune_batch(older_than):
        removed += batch
        progress(removed)
    return removed


# The clock is the database's, as in the trigger that has to agree. As a condition of the DELETE the batch might be
# chosen several times over.
_PRUNE = """
    WITH old AS MATERIALIZED (
        SELECT id FROM {table} WHERE occurred_at < now() - make_interval(secs => %(age)s) ORDER BY occurred_at, id
        LIMIT %(batch)s FOR UPDATE SKIP LOCKED
    )
    DELETE FROM {table} AS event USING old WHERE event.id = old.id
"""


def _prune_batch(older_than: dt.timedelta) -> int:
    using = router.db_for_write(AuditEvent)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("SET LOCAL seawall.audit_pruning = 'on'")
        cursor.execute(
            _PRUNE.format(table=AuditEvent._meta.db_table), {"age": older_than.total_seconds(), "batch": PRUNING_BATCH}
        )
        removed: int = cursor.rowcount
        cursor.execute("SET LOCAL seawall.audit_pruning = 'off'")
    return removed


def _log(event: AuditEvent) -> None:
    log.info(
        "audit_event_recorded",
        audit_id=event.pk,
        what=str(event.what),
        account_id=event.account_id and str(event.account_id),
        session_id=event.session_id and str(event.session_id),
        address=event.address,
        details=event.details,
    )
