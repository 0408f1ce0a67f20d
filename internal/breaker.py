"""A circuit breaker: after some failures in a row nobody asks for a while, then one call tries."""

from __future__ import annotations

import threading
import time
from enum import IntEnum


class State(IntEnum):
    """The state, with the value that the gauge shows."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class CircuitBreaker:
    """Counts failures in a row. Its lock is held for bookkeeping only, never during a call.

    Source: M. Nygard, Release It!, 2nd edition, «Circuit Breaker».

    Args:
        failures: how many in a row open it.
        open_seconds: how long nobody asks, and for how long a call that tries is waited for before another one may.
        quiet_seconds: how long no call must have succeeded before it opens. Of many calls to a service that fails half
            of them, five in a row fail every second; it is worth asking all the same.
    """

    def __init__(self, *, failures: int = 5, open_seconds: float = 1.0, quiet_seconds: float = 0.0) -> None:
        self._allowed_failures = failures
        self._open_seconds = open_seconds
        self._quiet_seconds = quiet_seconds
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at = 0.0
        self._succeeded_at = float("-inf")
        self._state = State.CLOSED

    @property
    def state(self) -> State:
        """The state as the last call left it."""
        return self._state

    def refuses(self) -> bool:
        """Whether no call may be made now. Unlike `allows` it changes nothing."""
        return self._state is not State.CLOSED and time.monotonic() - self._opened_at < self._open_seconds

    def allows(self) -> bool:
        """Whether a call may be made now; whoever is told yes reports `succeeded` or `failed`."""
        with self._lock:
            if self._state is State.CLOSED:
                return True
            if time.monotonic() - self._opened_at < self._open_seconds:
                return False
            # One probe at a time: the next one may go when this one's time is over, too, so that none that is lost, or
            # waits long for its answer, keeps the circuit open.
            self._state = State.HALF_OPEN
            self._opened_at = time.monotonic()
            return True

    def succeeded(self) -> None:
        """The service answered."""
        with self._lock:
            self._failures = 0
            self._succeeded_at = time.monotonic()
            self._state = State.CLOSED

    def failed(self) -> None:
        """The service did not answer."""
        with self._lock:
            self._failures += 1
            if self._state is State.OPEN:  # a call that was begun before: the time until the next probe runs already
                return
            now = time.monotonic()
            is_down = self._failures >= self._allowed_failures and now - self._succeeded_at >= self._quiet_seconds
            if self._state is State.HALF_OPEN or is_down:
                self._state = State.OPEN
                self._opened_at = now
