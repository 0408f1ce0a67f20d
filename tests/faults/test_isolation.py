"""A role that hangs or fails: what does not need it goes on, and it gets no more calls than people make."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.faults.conftest import LIMIT, WAY, Member, calls_counted, calls_repeated, recovered
from tests.proxies import Mode, Proxy
from tests.running import Answer

CROWD = 24  # more than the places for calls to images
PAUSE = 0.2  # seconds between an answer and the next question of one of them
SIGN_INS = 12
AT_ONCE = 0.5  # seconds, of which most is the way through a machine with two cores
CALLS = 240  # of the measurement
LIST = "GET /internal/v1/images"
EXTRA = 0.10  # of all calls, at most, are repetitions
SAVED = 2 * 4  # repetitions that two processes may have saved up before


@contextmanager
def crowd(*calls: Callable[[], Answer]) -> Iterator[list[Answer]]:
    """People who ask for these all the time, each for the next one as soon as there is an answer."""
    answers: list[Answer] = []
    over = threading.Event()

    def ask_on(number: int) -> None:
        while not over.is_set():
            answers.append(calls[number % len(calls)]())
            number += 1
            over.wait(PAUSE)

    with ThreadPoolExecutor(CROWD) as threads:
        for number in range(CROWD):
            threads.submit(ask_on, number)
        try:
            yield answers
        finally:
            over.set()


@pytest.mark.parametrize("every", [1, 2], ids=["always", "every second call"])
def test_signing_in_goes_on_while_images_hangs_and_everybody_asks_for_it(
    every: int,
    member: Member,
    proxies: Mapping[str, Proxy],
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """With every second call the circuit stays closed, and nothing but the bulkhead keeps threads free."""
    recovered(member)
    busy = calls_counted("images", "busy")
    with (
        proxies["images"].faulty("hang", every=every),
        crowd(
            lambda: member.person.call("GET", "/images"),
            lambda: member.person.call("GET", "/profile"),
            lambda: member.browser.get("/images"),
        ) as asked,
    ):
        sign_ins = []
        for _ in range(SIGN_INS):
            sign_ins.append(member.log_in())
            time.sleep(0.3)  # so that the whole lasts longer than a deadline

    seconds = sorted(answer.seconds for answer in sign_ins)
    unavailable = [answer.seconds for answer in asked if answer.status == 503]
    figure = (
        f"images hangs ({['every call', 'every second call'][every - 1]}), {len(asked)} answers to {CROWD} others: "
        f"sign-in {seconds[len(seconds) // 2]:.2f} s (median), {seconds[-1]:.2f} s (slowest); "
        f"{sum(value < AT_ONCE for value in unavailable)} of {len(unavailable)} refusals within {AT_ONCE} s"
    )
    record_testsuite_property("figure", figure)
    assert Counter((answer.status, answer.json.get("code")) for answer in sign_ins) == {(200, None): SIGN_INS}
    assert seconds[-1] < LIMIT + WAY
    assert calls_counted("images", "busy") > busy
    assert any(value < AT_ONCE for value in unavailable)
    recovered(member)


ASK = {"Cache-Control": "no-cache"}  # the services, and give no answer that was kept


@pytest.mark.parametrize("fault", ["reset", "truncate"])
def test_a_service_that_fails_gets_at_most_a_tenth_more_calls_than_people_make(
    fault: Mode,
    member: Member,
    proxies: Mapping[str, Proxy],
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """Half of the calls fail, so that the circuit stays closed and every repetition is made that is allowed."""
    recovered(member)
    repeated = calls_repeated("images")
    images = proxies["images"]

    def made(count: int) -> tuple[int, Counter[int]]:
        before = images.requests[LIST]
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda _: member.person.call("GET", "/images", headers=ASK), range(count)))
        return images.requests[LIST] - before, Counter(answer.status for answer in answers)

    with images.faulty(fault, every=2):
        at_first, _ = made(CALLS)
        requests, statuses = made(CALLS)
    figure = f"{fault} of every second request: {requests} requests for {CALLS} calls, {statuses[200]} answered"
    record_testsuite_property("figure", figure)
    assert at_first <= CALLS * (1 + EXTRA) + SAVED
    assert requests <= CALLS * (1 + EXTRA)
    assert calls_repeated("images") > repeated

    with images.faulty(fault):
        requests, statuses = made(CALLS)
    record_testsuite_property("figure", f"{fault} of every request: {requests} requests for {CALLS} calls")
    assert statuses == {503: CALLS}
    assert requests <= CALLS * (1 + EXTRA)
    recovered(member)
