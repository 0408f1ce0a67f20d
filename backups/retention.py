"""Which backups are kept: the newest of each day, week and month, for so many of these, and some of the newest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """How many are kept: of the newest, and of days, weeks (ISO 8601) and months (UTC) that have one."""

    last: int
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def __post_init__(self) -> None:
        """The newest one is always kept."""
        if self.last < 1 or min(self.daily, self.weekly, self.monthly) < 0:
            raise ValueError("at least the last one is kept, and of nothing fewer than none")


def kept(backups: Iterable[tuple[str, dt.datetime]], policy: Policy) -> dict[str, list[str]]:
    """Of backups, given as id and moment, those that the policy keeps, each with the reasons.

    A day, week or month counts if there is a backup of it, whatever lies between: a system that stood still for a year
    does not lose what it has.
    """
    newest_first = sorted(backups, key=lambda backup: (backup[1], backup[0]), reverse=True)
    reasons: dict[str, list[str]] = {}
    for backup_id, _ in newest_first[: policy.last]:
        reasons.setdefault(backup_id, []).append("last")
    periods: tuple[tuple[str, int, Callable[[dt.datetime], tuple[int, ...]]], ...] = (
        ("daily", policy.daily, lambda moment: (moment.year, moment.month, moment.day)),
        ("weekly", policy.weekly, lambda moment: tuple(moment.isocalendar())[:2]),
        ("monthly", policy.monthly, lambda moment: (moment.year, moment.month)),
    )
    for name, count, period in periods:
        seen: set[tuple[int, ...]] = set()
        for backup_id, moment in newest_first:
            of = period(moment.astimezone(dt.UTC))
            if of not in seen and len(seen) < count:
                seen.add(of)
                reasons.setdefault(backup_id, []).append(name)
    return reasons
