"""Which backups the rules keep."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backups.retention import Policy, kept

moments = st.integers(0, 3 * 366 * 86_400).map(
    lambda seconds: dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
)
sets = st.lists(moments, max_size=60, unique=True).map(
    lambda each: [(f"{moment:%Y%m%dT%H%M%S%f}", moment) for moment in each]
)
policies = st.builds(Policy, *(st.integers(low, 9) for low in (1, 0, 0, 0)))


def at(text: str) -> tuple[str, dt.datetime]:
    return text, dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_each_rule_keeps_the_newest_of_its_periods() -> None:
    backups = [
        at(text)
        for text in (
            "2026-03-02T09:00",  # a Monday
            "2026-03-02T08:00",
            "2026-03-01T23:59",  # a Sunday, of the week before
            "2026-02-28T08:00",
            "2026-02-10T08:00",
            "2026-01-05T08:00",
            "2025-12-29T08:00",  # of the first week of 2026
        )
    ]

    assert kept(backups, Policy(last=2, daily=3, weekly=3, monthly=4)) == {
        "2026-03-02T09:00": ["last", "daily", "weekly", "monthly"],
        "2026-03-02T08:00": ["last"],
        "2026-03-01T23:59": ["daily", "weekly"],
        "2026-02-28T08:00": ["daily", "monthly"],
        "2026-02-10T08:00": ["weekly"],
        "2026-01-05T08:00": ["monthly"],
        "2025-12-29T08:00": ["monthly"],
    }


def test_the_days_are_those_of_utc() -> None:
    east = dt.timezone(dt.timedelta(hours=5))
    same_day = [
        ("a", dt.datetime(2026, 3, 2, 23, 0, tzinfo=dt.UTC)),
        ("b", dt.datetime(2026, 3, 3, 1, 0, tzinfo=east)),
        ("c", dt.datetime(2026, 3, 1, 1, 0, tzinfo=dt.UTC)),
    ]

    assert set(kept(same_day, Policy(last=1, daily=2))) == {"a", "c"}


@settings(max_examples=50)
@given(sets, policies)
def test_the_newest_always_stays_and_never_more_than_the_rules_allow(
    backups: list[tuple[str, dt.datetime]], policy: Policy
) -> None:
    stays = kept(backups, policy)

    assert len(stays) <= policy.last + policy.daily + policy.weekly + policy.monthly
    assert set(stays) <= {backup_id for backup_id, _ in backups}
    newest_first = [backup_id for backup_id, _ in sorted(backups, key=lambda each: each[1], reverse=True)]
    assert set(newest_first[: policy.last]) <= set(stays)


@settings(max_examples=50)
@given(sets, policies)
def test_what_stayed_stays_when_it_is_asked_again(backups: list[tuple[str, dt.datetime]], policy: Policy) -> None:
    stays = kept(backups, policy)

    assert kept([each for each in backups if each[0] in stays], policy) == stays


@settings(max_examples=50)
@given(sets, st.integers(1, 9))
def test_a_day_of_the_last_ones_loses_all_but_its_newest(backups: list[tuple[str, dt.datetime]], daily: int) -> None:
    stays = kept(backups, Policy(last=1, daily=daily))

    newest_of = {moment.date(): backup_id for backup_id, moment in sorted(backups, key=lambda each: each[1])}
    assert set(stays) == {newest_of[day] for day in sorted(newest_of, reverse=True)[:daily]}


@pytest.mark.parametrize("numbers", [(0, 1, 1, 1), (-1, 0, 0, 0), (1, -1, 0, 0), (1, 0, 0, -1)])
def test_no_policy_keeps_nothing(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least the last one"):
        Policy(*numbers)
