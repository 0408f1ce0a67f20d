"""`files` follows its load: 2, 10, 18 pods, and back."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.front import IMAGES, Front, Line
from tests.cluster.kubectl import Kubectl, until
from tests.cluster.load import Load, Somebody
from tests.cluster.system import NAMESPACES, System

READERS = 2
RATE = 1000.0  # reads a second of each reader at most
CALM = 20.0  # reads a second of each reader while pods go again: two pods serve that with hardly any work
SECONDS = 600.0
PERIOD = 60.0  # seconds of the step's policy: pods that went in the last one may come back beside the eight
NAMESPACE = NAMESPACES["files"]


@pytest.fixture
def path(front: Front) -> str:
    """The path of a stored image."""
    load = Load(front, 1)
    somebody = Somebody(load, 0)
    somebody.arrive()
    somebody.leave()
    assert load.failures == []
    return next(iter(somebody.images.values()))


@contextlib.contextmanager
def reading(front: Front, path: str) -> Iterator[Any]:
    """Reads an image again and again, in processes of their own.

    Gives the counters of answers and of failures, and the rate, which may be changed.
    """
    context = multiprocessing.get_context("fork")
    answered, failed, over = context.Value("q", 0), context.Value("q", 0), context.Event()
    rate = context.Value("d", RATE)
    readers = [context.Process(target=_read, args=(front, path, answered, failed, rate, over)) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        yield answered, failed, rate
        assert all(reader.is_alive() for reader in readers), "a reader has ended before its time"
    finally:
        over.set()
        for reader in readers:
            reader.join(30)


def _read(front: Front, path: str, answered: Any, failed: Any, rate: Any, over: Any) -> None:
    lines = [front.line(IMAGES) for _ in range(8)]
    due = time.monotonic()
    while not over.is_set():
        asked = [line for line in lines if _asked(line, path, failed)]
        for line in asked:
            try:
                answer = line.getresponse()
                is_whole = bool(answer.read()) and answer.status == 200
            except (OSError, http.client.HTTPException):
                line.close()
                is_whole = False
            _count(answered if is_whole else failed)
        due = max(due + len(lines) / rate.value, time.monotonic() - 1)
        over.wait(max(0.0, due - time.monotonic()))


def _asked(line: Line, path: str, failed: Any) -> bool:
    """Whether a request could be sent."""
    try:
        line.request("GET", path)
    except (OSError, http.client.HTTPException):
        line.close()
        _count(failed)
        return False
    return True


def _count(counter: Any) -> None:
    with counter.get_lock():
        counter.value += 1


def sampled(kubectl: Kubectl) -> dict[str, str]:
    """When the metrics API has looked at each pod last."""
    selector = "labelSelector=app.kubernetes.io/name=files"
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods?{selector}"
    found = json.loads(kubectl.run("get", "--raw", path).stdout)
    return {one["metadata"]["name"]: one["timestamp"] for one in found["items"]}


def replicas(kubectl: Kubectl) -> int:
    """How many pods the autoscaler wants."""
    deployment = kubectl.get("deployment", "files", NAMESPACE)
    assert deployment
    return int(deployment["spec"]["replicas"])


class Steady:
    """Whether a condition has held for so many seconds without a break, as far as it was asked."""

    def __init__(self, condition: Callable[[], bool], seconds: float) -> None:
        self._condition = condition
        self._seconds = seconds
        self._since: float | None = None

    def __call__(self) -> bool:
        if not self._condition():
            self._since = None
            return False
        self._since = self._since or time.monotonic()
        return time.monotonic() - self._since >= self._seconds


def test_files_walk_from_two_to_eighteen_and_back(
    kubectl: Kubectl, system: System, front: Front, path: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    until(Steady(lambda: replicas(kubectl) == 2, PERIOD + 5), "two pods for a while before the load", SECONDS)
    # The surge begins just after a sample, so that the next one shows it and not mostly the quiet before it.
    before = sampled(kubectl)
    until(lambda: before and set(sampled(kubectl).items()).isdisjoint(before.items()), "a sample of each pod", 60)
    started = time.monotonic()
    walk = [(0, 2)]

    def at(wanted: int) -> bool:
        now = replicas(kubectl)
        if now != walk[-1][1]:
            walk.append((round(time.monotonic() - started), now))
        return now == wanted

    with reading(front, path) as (answered, failed, rate):
        until(lambda: at(18), lambda: f"18 pods; so far {walk}", SECONDS)
        until(lambda: len(system.ready_pods("files")) == 18, lambda: f"18 Ready pods; {system.explain()}", SECONDS)
        ready_after = round(time.monotonic() - started)
        reads, seconds = answered.value, time.monotonic() - started
        rate.value = CALM
        until(lambda: at(2), lambda: f"two pods again; so far {walk}", SECONDS)
        until(lambda: len(kubectl.pods(NAMESPACE, "files")) == 2, "the other pods have gone", SECONDS)

    figure = f"files walked {walk} (seconds, pods), 18 Ready after {ready_after} s; {reads / seconds:.0f} reads/s"
    record_testsuite_property("figure", figure)
    print(f"\n{figure}")
    assert failed.value == 0
    assert answered.value > reads
    assert [pods for _, pods in walk] == [2, 10, 18, 10, 2]
