"""Deletes what is over and serves nothing any more: sessions, used refresh tokens, counters of failed sign-ins, changes
that nobody asks for any more.

Each step works in short transactions of their own and passes over rows that somebody else has locked, so it can run on
a schedule, several times at once, and beside people who sign in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db import router, transaction
from django.db.models import F, Model, Q, QuerySet
from django.utils import timezone

from auth import changes, lockout, sessions
from auth.models import RefreshToken, Session, SignInFailure

BATCH: Final = 1_000  # rows of one transaction

KEEP_SESSIONS: Final = dt.timedelta(days=30)
"""How long a session is kept after its end: the console shows it, and a sign-in knows the network it came from."""

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Purged:
    """How many rows of each kind were deleted."""

    sessions: int
    refresh_tokens: int
    counters: int
    changes: int


def purge(*, progress: Progress = lambda kind, deleted: None) -> Purged:
    """Deletes everything that is over; `progress` hears the kind and the number so far after each transaction."""
    now = timezone.now()
    return Purged(
        sessions=_delete("sessions", ended_sessions(now), progress),
        refresh_tokens=_delete("refresh tokens", superseded_tokens(now), progress),
        counters=_delete("counters", forgotten_counters(now), progress),
        changes=changes.feed.prune(),
    )


def ended_sessions(now: dt.datetime) -> QuerySet[Session]:
    """Sessions that were ended, or ran out, KEEP_SESSIONS ago; their refresh tokens go with them."""
    limit = now - KEEP_SESSIONS
    return Session.objects.filter(Q(ended_at__lt=limit) | Q(expires_at__lt=limit))


def superseded_tokens(now: dt.datetime) -> QuerySet[RefreshToken]:
    """Refresh tokens of earlier generations whose rightful holder was told that they would have run out by now.

    Until then a second use must be recognised. Afterwards a token is merely unknown, and refused as such.
    """
    return RefreshToken.objects.filter(
        generation__lt=F("session__generation"), created_at__lt=now - sessions.IDLE_LIFETIME
    )


def forgotten_counters(now: dt.datetime) -> QuerySet[SignInFailure]:
    """Counters whose window is over and that refuse nobody: the next attempt would begin anew anyway."""
    return SignInFailure.objects.filter(
        Q(locked_until__isnull=True) | Q(locked_until__lt=now), window_started_at__lt=now - lockout.WINDOW
    )


def _delete(kind: str, over: QuerySet[Any], progress: Progress) -> int:
    model: type[Model] = over.model
    deleted = 0
    while True:
        with transaction.atomic(using=router.db_for_write(model)):
            batch = list(
                over.order_by("pk")
                .select_for_update(skip_locked=True, of=("self",))
                .values_list("pk", flat=True)[:BATCH]
            )
            if not batch:
                return deleted
            over.filter(pk__in=batch).delete()
        deleted += len(batch)
        progress(kind, deleted)
