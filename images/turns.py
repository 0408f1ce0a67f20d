"""Whose turn it is to decode: one picture at a time in a process, and a large one alone in the whole role.

What a role needs in memory is what its pictures in work need together. So each process works on one at a time; small
ones are worked on in all processes at once, and while a large one has its turn, no other picture has. Who comes first
is next: while a large one waits for the small ones that are under way, no further one begins.

The workers of a role share the turns by locks on a file without a name, which is there before they are forked. The
kernel takes a lock back from a process that ends, in whatever way.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from images import faults
from internal.context import current_deadline

_NEXT, _WORK = 0, 1  # places in the file: who is next; who works
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02  # seconds between two looks: waiting for such a lock has no limit

_file = os.memfd_create("turns")
_slot = threading.Lock()  # locks of a file belong to a process and not to a thread


@contextmanager
def in_process() -> Iterator[None]:
    """Holds the turn of this process for the block.

    Raises:
        ProblemError: busy, when the deadline came first.
    """
    if not _slot.acquire(timeout=max(current_deadline().remaining(), 0)):
        raise faults.busy()
    try:
        yield
    finally:
        _slot.release()


@contextmanager
def in_role(*, alone: bool, seconds: float) -> Iterator[None]:
    """Holds a turn of the role for the block, beside other processes or alone. Stands in a block of `in_process`.

    `seconds` is what the work takes: it is not begun when so much is not left of the deadline.

    Raises:
        ProblemError: busy, when the turn did not come in time.
    """
    until = current_deadline().at - seconds
    try:
        _lock(_NEXT, fcntl.LOCK_EX, until)
        try:
            _lock(_WORK, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, until)
        finally:
            fcntl.lockf(_file, fcntl.LOCK_UN, 1, _NEXT)
        yield
    finally:
        fcntl.lockf(_file, fcntl.LOCK_UN, 1, _WORK)


def _lock(place: int, kind: int, until: float) -> None:
    pause = _SHORTEST_PAUSE
    while (left := until - time.monotonic()) > 0:
        try:
            fcntl.lockf(_file, kind | fcntl.LOCK_NB, 1, place)
            return
        except (BlockingIOError, PermissionError):  # POSIX allows either
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
    raise faults.busy()
