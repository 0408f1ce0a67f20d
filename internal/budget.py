"""A budget for repeated calls: a service that fails gets hardly more calls than people make.

Source: the retry budgets of Finagle, https://twitter.github.io/finagle/guide/Clients.html#retries, and Google's SRE
book, chapter «Addressing Cascading Failures».
"""

from __future__ import annotations

import threading
import time


class RetryBudget:
    """Each call earns 0.08 of a repetition, so that with what was saved it stays under a tenth; one a minute is free.

    Args:
        share: repetitions that a call earns.
        saved: repetitions that are kept at most: with two processes, for the calls that a worker of eight threads takes
            with it when it is killed.
        free_every: seconds after which there is one even if nobody called.
    """

    def __init__(self, *, share: float = 0.08, saved: float = 4.0, free_every: float = 60.0) -> None:
        self._share = share
        self._saved = saved
        self._free_every = free_every
        self._lock = threading.Lock()
        self._balance = 1.0
        self._counted_at = time.monotonic()

    def earn(self) -> None:
        """A call is made."""
        with self._lock:
            self._balance = min(self._saved, self._balance + self._share)

    def spend(self) -> bool:
        """Whether a call may be repeated now."""
        with self._lock:
            now = time.monotonic()
            self._balance = min(self._saved, self._balance + (now - self._counted_at) / self._free_every)
            self._counted_at = now
            if self._balance < 1.0 - 1e-9:  # parts add up to not quite one
                return False
            self._balance -= 1.0
            return True
