"""The circuit breaker's states, on a clock that the test moves."""

from __future__ import annotations

import pytest

from internal import breaker
from internal.breaker import CircuitBreaker, State


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(breaker.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.usefixtures("clock")
def test_it_stays_closed_while_failures_are_not_in_a_row() -> None:
    circuit = CircuitBreaker(failures=3)
    for _ in range(5):
        circuit.failed()
        circuit.failed()
        circuit.succeeded()
    assert circuit.state is State.CLOSED
    assert circuit.allows()


def test_it_opens_lets_one_probe_through_and_closes_on_its_success(clock: list[float]) -> None:
    circuit = CircuitBreaker(failures=2, open_seconds=1.0)
    circuit.failed()
    circuit.failed()
    assert circuit.state is State.OPEN
    assert not circuit.allows()

    clock[0] += 1.0
    assert circuit.allows()
    assert circuit.state is State.HALF_OPEN
    assert not circuit.allows()

    circuit.succeeded()
    assert circuit.state is State.CLOSED
    assert circuit.allows()


def test_a_failed_probe_opens_it_again_and_a_lost_one_does_not_block_it_for_ever(clock: list[float]) -> None:
    circuit = CircuitBreaker(failures=1, open_seconds=1.0)
    circuit.failed()
    clock[0] += 1.0
    assert circuit.allows()
    circuit.failed()
    assert circuit.state is State.OPEN
    assert not circuit.allows()

    clock[0] += 1.0
    assert circuit.allows()
    clock[0] += 1.0
    assert circuit.allows()


def test_it_stays_closed_while_some_calls_succeed_however_many_fail_in_a_row(clock: list[float]) -> None:
    circuit = CircuitBreaker(failures=3, quiet_seconds=1.0)
    circuit.succeeded()
    clock[0] += 0.9
    for _ in range(50):
        circuit.failed()
    assert circuit.state is State.CLOSED

    clock[0] += 0.1
    circuit.failed()
    assert circuit.state is State.OPEN


def test_to_ask_whether_it_refuses_is_no_probe(clock: list[float]) -> None:
    circuit = CircuitBreaker(failures=1, open_seconds=1.0)
    assert not circuit.refuses()
    circuit.failed()
    assert circuit.refuses()

    clock[0] += 1.0
    assert not circuit.refuses()
    assert circuit.state is State.OPEN
    assert circuit.allows()
    assert circuit.refuses()


def test_calls_that_were_begun_before_do_not_put_off_the_next_probe(clock: list[float]) -> None:
    circuit = CircuitBreaker(failures=1, open_seconds=1.0)
    circuit.failed()
    clock[0] += 0.9
    circuit.failed()
    clock[0] += 0.1
    assert circuit.allows()
