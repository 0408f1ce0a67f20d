"""How often calls are repeated, on a clock that the test moves."""

from __future__ import annotations

import pytest

from internal import budget
from internal.budget import RetryBudget


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.usefixtures("clock")
def test_less_than_a_tenth_of_many_calls_is_repeated() -> None:
    allowance = RetryBudget()
    repeated = 0
    for _ in range(1000):
        allowance.earn()
        repeated += allowance.spend()
    assert repeated == 81  # the one that everybody begins with


@pytest.mark.usefixtures("clock")
def test_what_good_times_have_saved_is_bounded() -> None:
    allowance = RetryBudget(saved=8)
    for _ in range(10_000):
        allowance.earn()
    assert [allowance.spend() for _ in range(10)] == [True] * 8 + [False] * 2


def test_in_a_quiet_hour_one_call_a_minute_is_repeated(clock: list[float]) -> None:
    allowance = RetryBudget(free_every=60)
    assert allowance.spend()
    assert not allowance.spend()
    clock[0] += 59
    assert not allowance.spend()
    clock[0] += 1
    assert allowance.spend()
