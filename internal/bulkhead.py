"""A bulkhead: calls to one role in flight are bounded, so that one that hangs cannot take every thread.

Source: M. Nygard, Release It!, 2nd edition, «Bulkheads».
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from internal import turns


class Full(Exception):
    """No place was free, and none was expected soon enough."""


class Place:
    """One call in flight. Whoever holds it says when the service has answered it, in whatever way."""

    answered = False


class Bulkhead:
    """A number of places, each for one call at a time.

    A caller who finds none waits for one only as long as the service answers others: if no answer has come for
    `patience` seconds, the callers behind are turned away at once and keep no thread. A service that answers some and
    lets others hang always looks alive, so each call that hangs takes one of the places to wait: callers who wait keep
    threads only while the calls before them do not. Its lock is held for bookkeeping.

    Args:
        places: calls in flight.
        waiting: callers who may wait for a place, less the calls that hang.
        patience: seconds that each of them waits at most.
        hangs_after: seconds after which a call hangs.
    """

    def __init__(self, places: int, *, waiting: int, patience: float, hangs_after: float = math.inf) -> None:
        self._places = places
        self._waiting = waiting
        self._patience = patience
        self._hangs_after = hangs_after
        self._lock = threading.Lock()
        self._taken = 0
        self._began: dict[Place, float] = {}
        self._queue: deque[threading.Event] = deque()  # each is set when its caller has been given a place
        self._moved_at = 0.0  # when an answer came, or the first call after all the others had ended was made

    @contextmanager
    def place(self, remaining: float) -> Iterator[Place]:
        """A place for the length of the block.

        Raises:
            Full: there is none, nor within `remaining` seconds.
        """
        turn = self._take_or_queue(remaining)
        if turn is not None:
            with turns.waiting():
                self._wait(turn, time.monotonic() + min(self._patience, remaining))
        held = Place()
        with self._lock:
            self._began[held] = time.monotonic()
        try:
            yield held
        finally:
            self._leave(held)

    def _take_or_queue(self, remaining: float) -> threading.Event | None:
        with self._lock:
            if self._taken < self._places:
                if self._taken == 0:
                    self._moved_at = time.monotonic()
                self._taken += 1
                return None
            now = time.monotonic()
            hope = self._moved_at + self._patience - now
            hanging = sum(now - began > self._hangs_after for began in self._began.values())
            if len(self._queue) + hanging >= self._waiting or min(hope, remaining) <= 0:
                raise Full
            turn = threading.Event()
            self._queue.append(turn)
            return turn

    def _wait(self, turn: threading.Event, until: float) -> None:
        while not turn.wait(max(0.0, min(until, self._moved_at + self._patience) - time.monotonic())):
            with self._lock:
                if turn.is_set():
                    return
                if time.monotonic() >= min(until, self._moved_at + self._patience):
                    self._queue.remove(turn)
                    raise Full

    def _leave(self, held: Place) -> None:
        with self._lock:
            del self._began[held]
            if held.answered:
                self._moved_at = time.monotonic()
            if self._queue:
                self._queue.popleft().set()  # the place goes from hand to hand
            else:
                self._taken -= 1
