"""Counts failed sign-ins exactly, and refuses further attempts for a while when there were too many.

An attempt is counted *before* its password is tested and given back when it succeeds, in one statement for all of its
counters, so that parallel attempts cannot get past a limit. An attempt that is refused is not counted: hammering on a
closed door does not keep it closed.

Three counters see an attempt: that of its network, that of the email address from this network, and that of the email
address from everywhere. Strangers can move all of them, so none of them may stand between a person and the account:

- An attempt from a device on which this person has signed in before is counted for that device, and for all such
  devices together, alone. Where these counters hold, the attempt is judged as any other.
- The counter of the email address from everywhere does not hold for a network from which the person has signed in.

See docs/decisions/0035.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import math
from dataclasses import dataclass
from typing import Final

from django.db import connections, router, transaction
from django.db.models import Max, Q
from django.utils import timezone

from auth import audit, emails
from auth.models import Account, Session, SignInFailure

WINDOW: Final = dt.timedelta(hours=1)  # after which a counter begins anew
FIRST_LOCK: Final = dt.timedelta(seconds=30)  # doubles with each further failure
LONGEST_LOCK: Final = dt.timedelta(minutes=15)

LIMIT_ACCOUNT_AND_NETWORK: Final = 10
LIMIT_ACCOUNT: Final = 100
LIMIT_NETWORK: Final = 100
LIMIT_KNOWN_DEVICE: Final = 10
LIMIT_KNOWN_DEVICES: Final = 30
AUDITED: Final = 100  # counters that one event names, when staff clears them
NETWORKS_REMEMBERED: Final = 100  # of the sessions last used
DEVICE_PREFIX: Final = "device "
ALL_DEVICES: Final = f"{DEVICE_PREFIX}*"


class Locked(Exception):
    """Too many attempts have failed; `retry_after` says in how many seconds the next one may be made."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"locked for {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Counter:
    """Which row of SignInFailure. In place of a network it may name a known device, with DEVICE_PREFIX before it."""

    email_digest: str
    network: str

    @property
    def is_shared(self) -> bool:
        """Whether others move it too: then one person's success takes back one attempt, and forgets no failure."""
        return not (self.email_digest and self.network) or self.network == ALL_DEVICES

    @property
    def limit(self) -> int:
        """How many failures it allows in a window."""
        if not self.email_digest:
            return LIMIT_NETWORK
        if not self.network:
            return LIMIT_ACCOUNT
        if self.network == ALL_DEVICES:
            return LIMIT_KNOWN_DEVICES
        return LIMIT_KNOWN_DEVICE if self.network.startswith(DEVICE_PREFIX) else LIMIT_ACCOUNT_AND_NETWORK


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


def begin_attempt(*, email: str, address: str | None, known_device: str = "") -> Attempt:
    """Counts an attempt to sign in, before its password is tested. Commits.

    Args:
        email: as it was typed.
        address: the network address it comes from, if known.
        known_device: what names the device, if a role vouches that this person has signed in on it; else empty.

    Raises:
        Locked: the attempt must not be made; nothing was counted.
    """
    now = timezone.now()
    digest, network = emails.email_digest(email), network_of(address)
    if known_device:
        device = DEVICE_PREFIX + hashlib.sha256(known_device.encode()).hexdigest()[:40]
        wanted = [Counter(digest, ALL_DEVICES), Counter(digest, device)]
    elif network:
        wanted = [Counter("", network), Counter(digest, ""), Counter(digest, network)]
    else:
        wanted = [Counter(digest, "")]
    using = router.db_for_write(SignInFailure)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(
            _COUNT.format(**_TABLES),
            {
                "digests": [counter.email_digest for counter in wanted],
                "networks": [counter.network for counter in wanted],
                "keys": [counter.email_digest + counter.network for counter in wanted],
                "limits": [counter.limit for counter in wanted],
                "email_key": emails.email_key(email),
                "known_from": _spellings(network),
                "remembered": NETWORKS_REMEMBERED,
                "now": now,
                "window_start": now - WINDOW,
                "first_lock": FIRST_LOCK.total_seconds(),
                "longest_lock": LONGEST_LOCK.total_seconds(),
            },
        )
        counted = [(Counter(digest, network), locks) for digest, network, locks in cursor.fetchall()]
        locked = [counter for counter, locks in counted if locks is None]
        if locked:
            raise Locked(_seconds_left(locked, now))
    return Attempt(tuple(counter for counter, _ in counted), any(locks for _, locks in counted))


def succeed(attempt: Attempt) -> None:
    """Gives back a counted attempt whose password was right; the person's own failures from here are forgotten."""
    _give_back(attempt, forgetting=True)


def abandon(attempt: Attempt) -> None:
    """Gives back a counted attempt whose password was never tested."""
    _give_back(attempt, forgetting=False)


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
    """Staff deletes single counters; returns how many there were, and records who did so, and which they were."""
    with transaction.atomic(using=router.db_for_write(SignInFailure)):
        wanted = SignInFailure.objects.filter(pk__in=counter_ids)
        chosen = list(wanted.order_by("email_digest", "network").select_for_update())  # as an attempt locks them
        deleted, _ = SignInFailure.objects.filter(pk__in=[counter.pk for counter in chosen]).delete()
        which = [f"{counter.email_digest[:16] or '-'} {counter.network or '-'}" for counter in chosen[:AUDITED]]
        details: dict[str, str | int | list[str]] = {"staff": staff_id, "counters": deleted, "which": which}
        audit.record(audit.What.SIGN_IN_UNLOCKED, details=details)
    return deleted


def _spellings(network: str) -> list[str]:
    """The networks, as PostgreSQL's inet, whose addresses are counted under this one."""
    if not network:
        return []
    return [network] if ":" in network else [network, f"::ffff:{network}"]


# Statements that take several rows take them in the order of their keys, so that no two of them block each other.
_TABLES = {
    "counters": SignInFailure._meta.db_table,
    "accounts": Account._meta.db_table,
    "sessions": Session._meta.db_table,
}

# `failures` of the existing row are those before this attempt. A row that is locked is left alone: it has no `locks`.
_COUNT = """
    WITH wanted AS (
        SELECT * FROM unnest(%(digests)s::text[], %(networks)s::text[]) AS wanted (email_digest, network)
        WHERE network <> '' OR NOT EXISTS (
            SELECT FROM (
                SELECT session.address FROM {sessions} session
                JOIN {accounts} account ON account.id = session.account_id
                WHERE account.email_key = %(email_key)s AND session.address IS NOT NULL
                ORDER BY session.last_used_at DESC LIMIT %(remembered)s
            ) AS latest WHERE latest.address <<= ANY (%(known_from)s::inet[])
        )
    ), counted AS (
        INSERT INTO {counters} AS counter (email_digest, network, failures, window_started_at, locked_until)
        SELECT email_digest, network, 1, %(now)s, NULL FROM wanted ORDER BY email_digest, network
        ON CONFLICT (email_digest, network) DO UPDATE SET
            failures = CASE
                WHEN counter.window_started_at <= %(window_start)s THEN 1
                ELSE counter.failures + 1
            END,
            window_started_at = CASE
                WHEN counter.window_started_at <= %(window_start)s THEN %(now)s
                ELSE counter.window_started_at
            END,
            locked_until = (
                SELECT CASE
                    WHEN counter.window_started_at <= %(window_start)s THEN NULL
                    WHEN counter.failures + 1 < allowed THEN NULL
                    ELSE %(now)s + make_interval(secs => LEAST(
                        %(first_lock)s * power(2, LEAST(counter.failures + 1 - allowed, 16)), %(longest_lock)s
                    ))
                END
                FROM (SELECT (%(limits)s::int[])[
                    array_position(%(keys)s::text[], excluded.email_digest || excluded.network)
                ] AS allowed) AS rule
            )
        WHERE counter.locked_until IS NULL OR counter.locked_until <= %(now)s
        RETURNING email_digest, network, locked_until IS NOT NULL AS locks
    )
    SELECT email_digest, network, locks FROM wanted LEFT JOIN counted USING (email_digest, network)
"""

_GIVE_BACK = """
    WITH mine AS (
        SELECT counter.id, failures, forgotten, allowed
        FROM {counters} AS counter
        JOIN unnest(%(digests)s::text[], %(networks)s::text[], %(forgotten)s::bool[], %(limits)s::int[])
            AS given (email_digest, network, forgotten, allowed)
            ON given.email_digest = counter.email_digest AND given.network = counter.network
        ORDER BY counter.email_digest, counter.network FOR UPDATE OF counter
    ), gone AS (
        DELETE FROM {counters} AS counter USING mine
        WHERE counter.id = mine.id AND (forgotten OR mine.failures <= 1)
    )
    UPDATE {counters} AS counter SET
        failures = counter.failures - 1,
        locked_until = CASE WHEN counter.failures - 1 < allowed THEN NULL ELSE counter.locked_until END
    FROM mine WHERE counter.id = mine.id AND NOT forgotten AND mine.failures > 1
"""


def _give_back(attempt: Attempt, *, forgetting: bool) -> None:
    """Takes one failure off each counter, and a lock that it caused with it; or forgets the person's own failures."""
    with connections[router.db_for_write(SignInFailure)].cursor() as cursor:
        cursor.execute(
            _GIVE_BACK.format(**_TABLES),
            {
                "digests": [counter.email_digest for counter in attempt.counters],
                "networks": [counter.network for counter in attempt.counters],
                "forgotten": [forgetting and not counter.is_shared for counter in attempt.counters],
                "limits": [counter.limit for counter in attempt.counters],
            },
        )


def _seconds_left(locked: list[Counter], now: dt.datetime) -> int:
    chosen = Q()
    for counter in locked:
        chosen |= Q(email_digest=counter.email_digest, network=counter.network)
    until = SignInFailure.objects.filter(chosen).aggregate(last=Max("locked_until"))["last"]
    return max(1, math.ceil((until - now).total_seconds())) if until else 1
