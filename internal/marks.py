"""Whether what a process of the gateway has worked out still holds: nothing of it has changed, as far as is known.

Auth and images tell what changes (`/internal/v1/changes`). The management process of each pod asks them all the time
(internal.following) and keeps, in memory that it shares with the workers, a mark for each account and the moment until
which the marks can be relied on. Who works out an answer takes the marks of the account before asking anybody; the
answer may be given again as long as the same marks are there and can be relied on. So an answer is never older than
LEASE_SECONDS, whatever hangs, fails or restarts: who cannot be asked is not relied on.

Accounts share marks by chance (there are SLOTS of them); then an answer is thrown away that would have held, no more.
"""

from __future__ import annotations

import mmap
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

DEPENDENCIES: Final = ("auth", "images")
SLOTS: Final = 1 << 16
LEASE_SECONDS = 0.9  # marks are relied on for so long, from the moment at which the last good question was asked

_WORD = 8  # bytes; aligned, so that one is never seen half-written
_LEASE, _GENERATION, _FIRST_SLOT = 0, 1, 2  # words of a dependency's part
_WORDS = _FIRST_SLOT + SLOTS

Marks = tuple[int, ...]


class Board:
    """Marks of the accounts, for each dependency; shared by all processes that are forked after it was made."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, len(DEPENDENCIES) * _WORDS * _WORD)
        self._words = memoryview(self._memory).cast("Q")
        self._moments = memoryview(self._memory).cast("d")

    def marks(self, account: UUID) -> Marks:
        """What an answer about this account has to be compared with later; take it before anybody is asked."""
        slot = account.int % SLOTS
        words = self._words
        return (
            words[_GENERATION],
            words[_FIRST_SLOT + slot],
            words[_WORDS + _GENERATION],
            words[_WORDS + _FIRST_SLOT + slot],
        )

    def relied_on(self) -> bool:
        """Whether changes are known of up to a moment ago."""
        now = time.monotonic()
        return self._moments[_LEASE] > now and self._moments[_WORDS + _LEASE] > now

    def changed(self, account: UUID, dependency: str) -> None:
        """What that role knows of the account may be different from now on."""
        self._words[self._start(dependency) + _FIRST_SLOT + account.int % SLOTS] = _new_mark()

    def everything_changed(self, dependency: str) -> None:
        """Whatever that role knows may be different from now on."""
        self._words[self._start(dependency) + _GENERATION] = _new_mark()

    def rely_until(self, dependency: str, moment: float) -> None:
        """Every change is known that was made until LEASE_SECONDS before that moment (s, monotonic)."""
        self._moments[self._start(dependency) + _LEASE] = moment

    @staticmethod
    def _start(dependency: str) -> int:
        return DEPENDENCIES.index(dependency) * _WORDS


def _new_mark() -> int:
    """A number that was never there before, so that a mark cannot become again what it was."""
    return secrets.randbits(64)


board = Board()


@contextmanager
def changing(account: UUID | None, dependency: str) -> Iterator[None]:
    """The block asks that role to change something of the account: no answer from before it is given after it.

    Also when it fails, for it may have been carried out all the same. Without an account nothing is known of it.
    """
    try:
        yield
    finally:
        if account is not None:
            board.changed(account, dependency)
