"""Counts failed sign-ins exactly, and refuses further attempts for a while when there were too many.

An attempt is counted *before* its password is tested and given back when it succeeds, in one statement per counter, so
that parallel attempts cannot get past a limit. An attempt that is refused is not counted: hammering on a closed door
does not keep it closed.

Three counters see an attempt: that of its network, that of the email address from this network, and that of the email
address from everywhere. The last one would let a stranger lock a person out, so it does not hold for a network from
which that person has signed in before; there, the limit for address and network together protects the account.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
from dataclasses import dataclass
from typing import Final

from django.db import connections, router, transaction
from django.utils import timezone

from auth import audit, emails
from auth.models import Account, Session, SignInFailure

WINDOW: Final = dt.timedelta(hours=1)  # after which a counter begins anew
FIRST_LOCK: Final = dt.timedelta(seconds=30)  # doubles with each further failure
LONGEST_LOCK: Final = dt.timedelta(minutes=15)

LIMIT_ACCOUNT_AND_NETWORK: Final = 10
LIMIT_ACCOUNT: Final = 100
LIMIT_NETWORK: Final = 100
NETWORKS_REMEMBERED: Final = 100  # of the sessions last used


class Locked(Exception):
    """Too many attempts have failed; `retry_after` says in how many seconds the next one may be made."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"locked for {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Counter:
    """One row of SignInFailure, and how many failures it allows in a window."""

    email_digest: str
    network: str
    limit: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that has been counted. `locks` says that, should it fail, it was the last one for a while."""

    counters: tuple[Counter, ...]
    locks: bool


def network_of(address: str | None) -> str:
    """The network that an address is counted under: itself for IPv4, its /64 for IPv6; empty if it is not known."""
    if not address:
        return ""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed.packed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)


def begin_attempt(*, email: str, address: str | None) -> Attempt:
    """Counts an attempt to sign in, before its password is tested. Commits.

    Raises:
        Locked: the attempt must not be made; nothing was counted.
    """
    now = timezone.now()
    with transaction.atomic(using=router.db_for_write(SignInFailure)):
        counters = _counters(email=email, network=network_of(address))
        locks = [_count(counter, now) for counter in counters]
    return Attempt(counters, any(locks))


def succeed(attempt: Attempt) -> None:
    """Gives back a counted attempt whose password was right; the person's own failures from here are forgotten."""
    with transaction.atomic(using=router.db_for_write(SignInFailure)):
        for counter in attempt.counters:
            if counter.email_digest and counter.network:
                SignInFailure.objects.filter(email_digest=counter.email_digest, network=counter.network).delete()
            else:
                _give_back(counter)


def abandon(attempt: Attempt) -> None:
    """Gives back a counted attempt whose password was never tested."""
    with transaction.atomic(using=router.db_for_write(SignInFailure)):
        for counter in attempt.counters:
            _give_back(counter)


def forget(*, email: str) -> int:
    """Deletes every counter of an email address; returns how many there were."""
    with transaction.atomic(using=router.db_for_write(SignInFailure)):
        counters = SignInFailure.objects.filter(email_digest=emails.email_digest(email))
        # Locked in the order in which an attempt locks them: no deadlock with one that is going on.
        chosen = list(counters.order_by("network").select_for_update().values_list("pk", flat=True))
        deleted, _ = SignInFailure.objects.filter(pk__in=chosen).delete()
    return deleted


def unlock(*, account: Account, staff_id: str) -> int:
    """Staff lets a person try again at once: deletes the account's counters and records who did so."""
    with transaction.atomic(using=router.db_for_write(SignInFailure)):
        deleted = forget(email=account.email)
        audit.record(
            audit.What.SIGN_IN_UNLOCKED,
            account_id=account.id,
            details={"staff": staff_id, "counters": deleted},
        )
    return deleted


def clear(*, counter_ids: list[int], staff_id: str) -> int:
    """Staff deletes single counters; returns how many there were, and records who did so."""
    with transaction.atomic(using=router.db_for_write(SignInFailure)):
        deleted, _ = SignInFailure.objects.filter(pk__in=counter_ids).delete()
        audit.record(audit.What.SIGN_IN_UNLOCKED, details={"staff": staff_id, "counters": deleted})
    return deleted


def _counters(*, email: str, network: str) -> tuple[Counter, ...]:
    """The counters of an attempt, in the order in which every attempt locks them."""
    digest = emails.email_digest(email)
    counters = []
    if network:
        counters.append(Counter("", network, LIMIT_NETWORK))
    if not _signed_in_from(email=email, network=network):
        counters.append(Counter(digest, "", LIMIT_ACCOUNT))
    if network:
        counters.append(Counter(digest, network, LIMIT_ACCOUNT_AND_NETWORK))
    return tuple(counters)


def _signed_in_from(*, email: str, network: str) -> bool:
    latest = (
        Session.objects.filter(account__email_key=emails.email_key(email), address__isnull=False)
        .order_by("-last_used_at")
        .values_list("address", flat=True)[:NETWORKS_REMEMBERED]
    )
    return bool(network) and network in {network_of(address) for address in latest}


# `failures` of the existing row are those before this attempt. The row is left alone, and so nothing is returned, while
# it is locked.
_COUNT = """
    INSERT INTO {table} AS counter (email_digest, network, failures, window_started_at, locked_until)
    VALUES (%(email_digest)s, %(network)s, 1, %(now)s, NULL)
    ON CONFLICT (email_digest, network) DO UPDATE SET
        failures = CASE
            WHEN counter.window_started_at <= %(window_start)s THEN 1
            ELSE counter.failures + 1
        END,
        window_started_at = CASE
            WHEN counter.window_started_at <= %(window_start)s THEN %(now)s
            ELSE counter.window_started_at
        END,
        locked_until = CASE
            WHEN counter.window_started_at <= %(window_start)s THEN NULL
            WHEN counter.failures + 1 < %(limit)s THEN NULL
            ELSE %(now)s + make_interval(secs => LEAST(
                %(first_lock)s * power(2, LEAST(counter.failures + 1 - %(limit)s, 16)), %(longest_lock)s
            ))
        END
    WHERE counter.locked_until IS NULL OR counter.locked_until <= %(now)s
    RETURNING locked_until IS NOT NULL
"""


def _count(counter: Counter, now: dt.datetime) -> bool:
    """Counts one attempt and says whether the counter is locked from now on.

    Raises:
        Locked: it was locked already.
    """
    using = router.db_for_write(SignInFailure)
    with connections[using].cursor() as cursor:
        cursor.execute(
            _COUNT.format(table=SignInFailure._meta.db_table),
            {
                "email_digest": counter.email_digest,
                "network": counter.network,
                "limit": counter.limit,
                "now": now,
                "window_start": now - WINDOW,
                "first_lock": FIRST_LOCK.total_seconds(),
                "longest_lock": LONGEST_LOCK.total_seconds(),
            },
        )
        counted = cursor.fetchone()
    if counted is not None:
        return bool(counted[0])
    row = SignInFailure.objects.get(email_digest=counter.email_digest, network=counter.network)
    seconds = (row.locked_until - now).total_seconds() if row.locked_until else 0
    raise Locked(max(1, math.ceil(seconds)))


def _give_back(counter: Counter) -> None:
    """Takes one failure off; a lock that it caused goes with it."""
    rows = SignInFailure.objects.filter(
        email_digest=counter.email_digest, network=counter.network, failures__gt=0
    ).select_for_update()
    for row in rows:
        row.failures -= 1
        if row.failures == 0:
            row.delete()
            continue
        if row.failures < counter.limit:
            row.locked_until = None
        row.save(update_fields=["failures", "locked_until"])
