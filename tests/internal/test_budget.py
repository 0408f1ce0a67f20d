"""How often calls are repeated."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from internal.budget import RetryBudget


def repeated(allowance: RetryBudget, fails: Callable[[], bool], calls: int) -> list[bool]:
    """For each of so many calls, whether it was repeated."""
    made = []
    for _ in range(calls):
        allowance.earn()
        made.append(fails() and allowance.spend())
    return made


def test_a_twentieth_of_many_calls_that_fail_is_repeated() -> None:
    assert sum(repeated(RetryBudget(), lambda: True, 1000)) == 50


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 1.0])
def test_of_any_ten_or_more_calls_in_a_row_at_most_a_tenth_is_repeated(share: float) -> None:
    chance = random.Random(1)  # noqa: S311 - the same in every run
    allowance = RetryBudget()
    calls = repeated(allowance, lambda: False, 1000)  # good times
    calls += repeated(allowance, lambda: chance.random() < share, 400)
    calls += repeated(allowance, lambda: False, 30)
    calls += repeated(allowance, lambda: True, 60)
    so_far = [0]
    for each in calls:
        so_far.append(so_far[-1] + each)

    assert so_far[-1] > 0
    for length in range(10, 300):
        worst = max(so_far[end] - so_far[end - length] for end in range(length, len(so_far)))
        assert worst <= length / 10, length


def test_one_is_saved_and_no_more() -> None:
    allowance = RetryBudget()
    for _ in range(10_000):
        allowance.earn()
    assert [allowance.spend() for _ in range(3)] == [True, False, False]
