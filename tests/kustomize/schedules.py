"""When CronJobs run: the minutes of a week at which each of them may be at work."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.kustomize.objects import Object, Objects

WEEK = 7 * 24 * 60
"""Minutes, from Sunday 00:00 on."""


class Unreadable(ValueError):
    """A schedule that is no list of minutes, hours and days of the week."""


def starts(schedule: str) -> set[int]:
    """The minutes of a week at which a schedule starts a job.

    Raises:
        Unreadable: it names days of a month, or months, or is not of five fields.
    """
    fields = schedule.split()
    if len(fields) != 5 or fields[2:4] != ["*", "*"]:
        raise Unreadable(f"{schedule!r}: five fields are needed, and * for the day of the month and the month")
    minutes, hours, days = (_values(fields[at], size) for at, size in ((0, 60), (1, 24), (4, 7)))
    return {(day * 24 + hour) * 60 + minute for day, hour, minute in itertools.product(days, hours, minutes)}


def _values(field: str, size: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            low, high = (0, size - 1) if span == "*" else (int(first), int(last) if dash or step else int(first))
            found |= set(range(low, high + 1, int(step or 1)))
        except ValueError as error:
            raise Unreadable(f"{field!r} is none of: *, 5, 1-5, 1,5, and each with a step: */10") from error
    if not found or not found <= set(range(size)):
        raise Unreadable(f"{field!r} is not within 0 to {size - 1}")
    return found


def at_work(job: Object) -> set[int]:
    """The minutes of a week at which a CronJob may be running.

    From its schedule on: for as long as it may start late, may then take, and its pod may take to end.
    """
    spec = job["spec"]["jobTemplate"]["spec"]
    seconds = (
        int(job["spec"]["startingDeadlineSeconds"])
        + int(spec["activeDeadlineSeconds"])
        + int(spec["template"]["spec"]["terminationGracePeriodSeconds"])
    )
    begins = starts(job["spec"]["schedule"])
    return {(minute + later) % WEEK for minute in begins for later in range(-(-seconds // 60))}


def together(objects: Objects) -> Iterator[frozenset[str]]:
    """The names of CronJobs that may be at work at the same time: each set of them that there is, once."""
    working = {job["metadata"]["name"]: at_work(job) for job in objects.of("CronJob")}
    yield from {frozenset(name for name, minutes in working.items() if at in minutes) for at in range(WEEK)}
