"""A budget for repeated calls: a service that fails gets hardly more calls than people make.

Source: the retry budgets of Finagle, https://twitter.github.io/finagle/guide/Clients.html#retries, and Google's SRE
book, chapter «Addressing Cascading Failures».
"""

from __future__ import annotations

import threading


class RetryBudget:
    """Of any ten or more calls in a row at most a tenth is repeated, whatever was before them.

    Good times save one repetition, and each call earns a twentieth: of n calls 1 + n/20 are repeated at most, and that
    is a tenth from 20 on (of 10 to 19 it is one). More of either would be more than a tenth of a short outage, and time
    alone earns nothing: of few calls it would repeat each one.
    """

    _SHARE = 0.05

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._balance = 1.0

    def earn(self) -> None:
        """A call is made."""
        with self._lock:
            self._balance = min(1.0, self._balance + self._SHARE)

    def spend(self) -> bool:
        """Whether a call may be repeated now."""
        with self._lock:
            if self._balance < 1.0 - 1e-9:  # parts add up to not quite one
                return False
            self._balance -= 1.0
            return True
