"""Turns to begin a request. Of the threads of a process the interpreter runs one at a time, and each that wants to be
the next one asks for it every few milliseconds: many that compute cost more than a few. So a worker lets only a few
begin; one that waits for something else lets the next one begin, and goes on when it likes (`internal.queueing.Queue`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

_waiting: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext


def waiting() -> AbstractContextManager[None]:
    """To be entered by a thread while it waits, not for the processor: for another role, for a client."""
    return _waiting()


def are_given_by(give: Callable[[], AbstractContextManager[None]]) -> None:
    """Says what `waiting` is to do in this process."""
    global _waiting
    _waiting = give
