"""Sessions: where a person is signed in, for how long, and the refresh tokens that keep it so."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import router, transaction
from django.utils import timezone

from auth import audit, rows, signing_keys
from auth.models import Account, RefreshToken, Session
from auth.models.session import DEVICE_LENGTH
from internal import contracts
from internal.problems import Problem, ProblemError, require_time_left

IDLE_LIFETIME: Final = dt.timedelta(days=14)
ABSOLUTE_LIFETIME: Final = dt.timedelta(days=90)
REUSE_GRACE: Final = dt.timedelta(seconds=10)
TOKEN_SIZE: Final = 32  # bytes: 256 random bits

log = structlog.get_logger(__name__)


def start(*, account: Account, device: str, address: str | None, now: dt.datetime) -> contracts.TokenGrant:
    """Starts a session; runs inside the caller's transaction.

    Args:
        account: who signs in.
        device: what the person would call the device; cut at 200 characters.
        address: the network address, if known.
        now: the moment of the sign-in.
    """
    session = rows.insert(
        Session(
            account=account,
            device=device[:DEVICE_LENGTH],
            address=address or None,
            created_at=now,
            last_used_at=now,
            rotated_at=now,
            expires_at=now + IDLE_LIFETIME,
            absolute_expires_at=now + ABSOLUTE_LIFETIME,
        )
    )
    audit.record(audit.What.SIGNED_IN, account_id=account.id, session_id=session.id, address=address)
    return _grant(session, now)


def refresh(*, refresh_token: str, device: str, address: str | None) -> contracts.TokenGrant:
    """Exchanges a refresh token for new tokens of the same session.

    A used token is good once more within REUSE_GRACE of the next generation's beginning: a browser that refreshed twice
    at once, or lost the reply. After that its reuse means that two parties hold the session, and ends it for both.

    Raises:
        ProblemError: invalid_refresh_token.
    """
    now = timezone.now()
    with transaction.atomic(using=router.db_for_write(Session)):
        grant = _rotate(_find(refresh_token), device=device, address=address, now=now)
        if grant is not None:  # the end of a session whose token was reused is committed in any case
            require_time_left()
    if grant is None:  # raised only now, outside of the transaction
        raise ProblemError(
            Problem("invalid_refresh_token", "The session has ended or never was; sign in again to get a new one.")
        )
    return grant


def revoke(*, refresh_token: str) -> UUID | None:
    """Ends the session of a refresh token, and says whose it was; does nothing for a token that nobody knows.

    However late it is: whoever signs out has gone, and would be worse off with a session that goes on.
    """
    with transaction.atomic(using=router.db_for_write(Session)):
        token = _find(refresh_token)
        if token is None:
            return None
        session = Session.objects.select_for_update().filter(pk=token.session_id).first()
        if session is None:  # the account has been closed a moment ago
            return None
        if session.ended_at is None:
            _end(session, Session.EndReason.SIGNED_OUT, timezone.now())
            audit.record(audit.What.SIGNED_OUT, account_id=session.account_id, session_id=session.id)
        return session.account_id


def of_account(*, account_id: UUID, current: UUID | None) -> tuple[contracts.Session, ...]:
    """Every place where a person is signed in now, the last used first; `current` is the id of the one that asks."""
    alive = Session.objects.filter(account_id=account_id).alive()
    return tuple(
        contracts.Session(
            id=session.id,
            device=session.device,
            address=session.address or "",
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
            current=session.id == current,
        )
        for session in alive
    )


def end(*, account_id: UUID, session_id: UUID) -> None:
    """Ends a session of the person who asks; once more does no harm.

    Raises:
        ProblemError: not_found, if the person has no such session.
    """
    with transaction.atomic(using=router.db_for_write(Session)):
        session = Session.objects.select_for_update().filter(pk=session_id, account_id=account_id).first()
        if session is None:
            raise ProblemError(Problem("not_found", "You have no such session."))
        if session.ended_at is None:
            _end(session, Session.EndReason.ENDED_BY_OWNER, timezone.now())
            _record_end(session)
            require_time_left()


def end_others(*, account_id: UUID, keep: UUID) -> int:
    """Ends every session of a person but one, after a change of password; returns how many were alive."""
    with transaction.atomic(using=router.db_for_write(Session)):
        others = Session.objects.select_for_update().alive().filter(account_id=account_id).exclude(pk=keep)
        return _end_all(others.order_by("id"), Session.EndReason.PASSWORD_CHANGED)


def end_by_staff(*, session_ids: list[UUID], staff_id: str) -> int:
    """Staff ends sessions; returns how many were alive."""
    with transaction.atomic(using=router.db_for_write(Session)):
        chosen = Session.objects.select_for_update().alive().filter(pk__in=session_ids)
        return _end_all(chosen.order_by("id"), Session.EndReason.ENDED_BY_STAFF, staff=staff_id)


def _find(refresh_token: str) -> RefreshToken | None:
    try:
        secret = base64.urlsafe_b64decode(refresh_token + "=" * (-len(refresh_token) % 4))
    except (ValueError, binascii.Error):
        return None
    if len(secret) != TOKEN_SIZE:
        return None
    return RefreshToken.objects.filter(token_hash=hashlib.sha256(secret).digest()).first()


def _rotate(
    token: RefreshToken | None, *, device: str, address: str | None, now: dt.datetime
) -> contracts.TokenGrant | None:
    """The new tokens; None if there are none to be had. The row of the session is the lock for all of its tokens."""
    if token is None:
        return None
    session = Session.objects.select_for_update().filter(pk=token.session_id).first()
    if session is None or not session.is_alive(now):
        return None
    if token.generation == session.generation:
        session.generation += 1
        session.rotated_at = max(session.rotated_at, now)
    elif token.generation != session.generation - 1 or now >= session.rotated_at + REUSE_GRACE:
        _end(session, Session.EndReason.TOKEN_REUSED, now)
        audit.record(
            audit.What.REFRESH_TOKEN_REUSED,
            account_id=session.account_id,
            session_id=session.id,
            address=address,
            details={"generation": token.generation, "current_generation": session.generation},
        )
        log.warning("session_family_ended", session_id=str(session.id), reason="reuse")
        return None
    RefreshToken.objects.filter(pk=token.pk, used_at__isnull=True).update(used_at=now)
    session.last_used_at = max(session.last_used_at, now)
    session.expires_at = min(now + IDLE_LIFETIME, session.absolute_expires_at)
    session.device = device[:DEVICE_LENGTH] or session.device
    session.address = address or session.address
    session.save(
        update_fields=["generation", "rotated_at", "last_used_at", "expires_at", "device", "address"],
    )
    return _grant(session, now)


def _grant(session: Session, now: dt.datetime) -> contracts.TokenGrant:
    secret = secrets.token_bytes(TOKEN_SIZE)
    rows.insert(
        RefreshToken(
            token_hash=hashlib.sha256(secret).digest(),
            session=session,
            generation=session.generation,
            created_at=now,
        )
    )
    left = int((session.expires_at - now).total_seconds())
    lifetime = min(settings.ACCESS_TOKEN_SECONDS, left)  # roles that cannot see the session go by the token alone
    access_token = signing_keys.issue_access_token(
        account_id=session.account_id, session_id=session.id, now=now, lifetime=lifetime
    )
    return contracts.TokenGrant(
        access_token=access_token,
        refresh_token=base64.urlsafe_b64encode(secret).decode().rstrip("="),
        token_type="Bearer",  # noqa: S106
        expires_in=lifetime,
        refresh_expires_in=left,
    )


def _end(session: Session, reason: Session.EndReason, now: dt.datetime) -> None:
    session.ended_at, session.end_reason = now, reason
    session.save(update_fields=["ended_at", "end_reason"])
    log.info("session_ended", session_id=str(session.id), reason=reason.value)


def _end_all(sessions: Iterable[Session], reason: Session.EndReason, **details: str) -> int:
    now = timezone.now()
    count = 0
    for session in sessions:
        _end(session, reason, now)
        _record_end(session, **details)
        count += 1
    return count


def _record_end(session: Session, **details: str) -> None:
    audit.record(
        audit.What.SESSION_ENDED,
        account_id=session.account_id,
        session_id=session.id,
        details={"reason": session.end_reason, **details},
    )
