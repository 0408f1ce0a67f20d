"""Places for calls in flight: who waits for one, and who is turned away at once."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from internal import bulkhead as bulkheads
from internal.bulkhead import Bulkhead, Full

LONG = 30.0  # seconds, that nobody waits here


def turned_away(bulkhead: Bulkhead, remaining: float = LONG) -> float:
    """After how many seconds a caller hears that there is no place."""
    started = time.perf_counter()
    with pytest.raises(Full), bulkhead.place(remaining):
        pass
    return time.perf_counter() - started


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(bulkheads.time, "monotonic", lambda: now[0])
    return now


def test_a_place_is_free_again_after_its_call_however_that_ended() -> None:
    bulkhead = Bulkhead(1, waiting=0, patience=LONG)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), bulkhead.place(LONG):
            raise ZeroDivisionError
    with bulkhead.place(LONG):
        assert turned_away(bulkhead) < 1


def test_whoever_waits_gets_the_place_of_a_call_that_ends() -> None:
    bulkhead = Bulkhead(1, waiting=1, patience=LONG)

    def second() -> bool:
        with bulkhead.place(LONG):
            return True

    with ThreadPoolExecutor(1) as threads:
        with bulkhead.place(LONG) as place:
            waiting: Future[bool] = threads.submit(second)
            while not bulkhead._queue:
                time.sleep(0.001)
            assert turned_away(bulkhead) < 1  # one may wait, and does
            place.answered = True
        assert waiting.result(timeout=10)


def test_nobody_waits_for_longer_than_the_deadline_or_their_patience() -> None:
    patient, impatient = Bulkhead(1, waiting=1, patience=LONG), Bulkhead(1, waiting=1, patience=0.05)
    with patient.place(LONG), impatient.place(LONG):
        assert 0.05 <= turned_away(patient, remaining=0.05) < LONG / 2
        assert turned_away(impatient) < LONG / 2


def test_nobody_waits_once_no_answer_has_come_for_a_while(clock: list[float]) -> None:
    """Calls that end without an answer make places, too, and are no reason to hope."""
    bulkhead = Bulkhead(2, waiting=8, patience=LONG)
    with bulkhead.place(LONG):
        with bulkhead.place(LONG):
            clock[0] += LONG
            assert turned_away(bulkhead) < 1
        with bulkhead.place(LONG):
            assert turned_away(bulkhead) < 1


def test_after_an_answer_others_may_wait_again(clock: list[float]) -> None:
    bulkhead = Bulkhead(2, waiting=8, patience=LONG)

    def one_more() -> bool:
        with bulkhead.place(LONG):
            return True

    with ThreadPoolExecutor(1) as threads, bulkhead.place(LONG):
        with bulkhead.place(LONG) as place:
            clock[0] += LONG
            place.answered = True
        with bulkhead.place(LONG):
            waiting = threads.submit(one_more)
            while not bulkhead._queue:
                assert not waiting.done()
                time.sleep(0.001)
        assert waiting.result(timeout=10)


def test_each_call_that_hangs_leaves_one_caller_less_to_wait_though_others_are_answered(clock: list[float]) -> None:
    bulkhead = Bulkhead(3, waiting=3, patience=LONG, hangs_after=1.0)

    def one_more() -> bool:
        with bulkhead.place(LONG):
            return True

    with ThreadPoolExecutor(3) as threads, contextlib.ExitStack() as calls:
        for _ in range(2):
            calls.enter_context(bulkhead.place(LONG))
        clock[0] += 1.1
        with bulkhead.place(LONG) as answered:
            waiting = threads.submit(one_more)  # three may wait, two hang
            while not bulkhead._queue:
                assert not waiting.done()
                time.sleep(0.001)
            assert turned_away(bulkhead) < 1
            answered.answered = True
        assert waiting.result(timeout=10)
        calls.close()
        with contextlib.ExitStack() as others:
            for _ in range(3):
                others.enter_context(bulkhead.place(LONG))
            crowd = [threads.submit(one_more) for _ in range(3)]
            while len(bulkhead._queue) < 3:
                assert not any(future.done() for future in crowd)
                time.sleep(0.001)
        assert all(future.result(timeout=10) for future in crowd)
