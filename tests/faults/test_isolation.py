"""A role that hangs or fails: what does not need it goes on, and it gets no more calls than people make."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median, quantiles

import pytest

from internal.context import REQUEST_DEADLINE
from tests.faults.conftest import LIMIT, Member, calls_counted, calls_repeated, recovered
from tests.proxies import Mode, Proxy
from tests.running import Answer

CROWD = 24  # more than the places for calls to images
PAUSE = 0.2  # seconds between an answer and the next question of one of them
SIGN_INS = 16
SLOWER = 1.5  # times as long as with a healthy images a sign-in may take, and
UNCERTAIN = 0.1  # seconds more: the median of so few, on a machine that does other things
AT_ONCE = 0.5  # seconds, of which most is the way through a machine with two cores
HELD = 2 * 8  # callers that two processes let wait for an answer of images at the same time
BUSY = "2"  # seconds, in Retry-After: too many calls are under way
BLOCK, BLOCKS = 40, 6  # calls of the measurement
LIST = "GET /internal/v1/images"
EXTRA = 0.10  # of all calls, at most, are repetitions


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
    people = (
        lambda: member.person.call("GET", "/images"),
        lambda: member.person.call("GET", "/profile"),
        lambda: member.browser.get("/images"),
    )
    with crowd(*people):
        healthy = sign_ins(member)
    began = time.monotonic()
    with proxies["images"].faulty("hang", every=every), crowd(*people) as asked:
        seconds = sign_ins(member)
    lasted = time.monotonic() - began

    refusals = sorted(answer.seconds for answer in asked if answer.headers.get("Retry-After") == BUSY)
    unanswered = [answer.seconds for answer in asked if answer.status == 503]
    slow = sum(value >= AT_ONCE for value in unanswered)
    figure = (
        f"images hangs ({['every call', 'every second call'][every - 1]}), {len(asked)} answers to {CROWD} others: "
        f"sign-in {median(seconds):.2f} s (median; {median(healthy):.2f} s before), {max(seconds):.2f} s (slowest); "
        f"{len(refusals)} refusals in {median(refusals):.2f} s (median), "
        f"{quantiles(refusals, n=20)[-1]:.2f} s (95 %); {slow} of all {len(unanswered)} took longer than {AT_ONCE} s"
    )
    record_testsuite_property("figure", figure)
    assert max(seconds) < LIMIT
    assert median(seconds) < SLOWER * median(healthy) + UNCERTAIN
    assert calls_counted("images", "busy") > busy
    assert quantiles(refusals, n=20)[-1] < AT_ONCE
    # Everybody else hears at once, too, the circuit being open, but for those that images has let wait.
    assert slow <= HELD * (1 + lasted / REQUEST_DEADLINE)
    recovered(member)


def sign_ins(member: Member) -> list[float]:
    """How long (s) each of some sign-ins takes, all of them good ones."""
    answers = []
    for _ in range(SIGN_INS):
        answers.append(member.log_in())
        time.sleep(0.3)  # so that the whole lasts longer than a deadline
    assert Counter((answer.status, answer.json.get("code")) for answer in answers) == {(200, None): SIGN_INS}
    return [answer.seconds for answer in answers]


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

    def made() -> tuple[int, Counter[int]]:
        """Requests for one block of calls, and what came of these."""
        before = images.requests[LIST]
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda _: member.person.call("GET", "/images", headers=ASK), range(BLOCK)))
        return images.requests[LIST] - before, Counter(answer.status for answer in answers)

    with images.faulty(fault, every=2):
        blocks = [made() for _ in range(BLOCKS)]
    requests = [number for number, _ in blocks]
    answered = sum(statuses[200] for _, statuses in blocks)
    figure = f"{fault} of every second request: {requests} requests for {BLOCK} calls each, {answered} answered"
    record_testsuite_property("figure", figure)
    assert max(requests) <= BLOCK * (1 + EXTRA)
    assert calls_repeated("images") > repeated

    with images.faulty(fault):
        blocks = [made() for _ in range(BLOCKS)]
    requests = [number for number, _ in blocks]
    record_testsuite_property("figure", f"{fault} of every request: {requests} requests for {BLOCK} calls each")
    assert sum((statuses for _, statuses in blocks), Counter()) == {503: BLOCK * BLOCKS}
    assert max(requests) <= BLOCK * (1 + EXTRA)
    recovered(member)
