"""A clock that tests can move."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from django.utils import timezone


class Clock:
    """What `timezone.now` says in every module of the role; starts at the present moment."""

    def __init__(self, real: Callable[[], dt.datetime]) -> None:
        self._real = real
        self._ahead = dt.timedelta()

    def __call__(self) -> dt.datetime:
        return self._real() + self._ahead

    def advance(self, **units: float) -> None:
        """Moves on by a timedelta of these units."""
        self._ahead += dt.timedelta(**units)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock(timezone.now)
    monkeypatch.setattr(timezone, "now", moved)
    return moved
