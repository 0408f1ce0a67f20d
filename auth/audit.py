"""The record of what happened to credentials: append-only, and without secrets, names or email addresses."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from auth.models import AuditEvent
from internal import context

What = AuditEvent.What


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
        address: the network address it came from, if known.
        details: short facts; never a password, token, name or email address.
    """
    AuditEvent.objects.create(
        what=what,
        account_id=account_id,
        session_id=session_id,
        address=address or None,
        request_id=context.request_id(),
        details=dict(details or {}),
    )
