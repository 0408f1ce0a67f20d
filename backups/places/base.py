"""What every place for backups can do, and what can be wrong with it."""

from __future__ import annotations

import datetime as dt
import errno
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from django.core.files.storage import Storage

CHUNK = 1024 * 1024  # bytes that are read at a time


@dataclass(frozen=True, slots=True)
class Kept:
    """Something in the place: its name, its size in bytes, and when it was written."""

    name: str
    size: int
    modified: dt.datetime


class PlaceUnavailable(OSError):
    """The place is not there, or not as it must be."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EIO, reason)

    def __str__(self) -> str:
        return str(self.strerror)


class BackupPlace(Storage):
    """A Django storage for backups. Its methods raise OSError: ENOSPC and its like where there is no room."""

    @property
    @abstractmethod
    def called(self) -> str:
        """What messages call it."""

    @abstractmethod
    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Keeps what comes, durably when it returns. If `chunks` or the place fail, nothing is there."""

    @abstractmethod
    def read(self, name: str) -> Generator[bytes, None, None]:
        """The content, in chunks. Raises FileNotFoundError."""

    @abstractmethod
    def kept(self) -> Iterator[Kept]:
        """Everything, in no order. What is being written, or was left by a crash, is among it or in `unfinished`."""

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Removes what is there of these, in their order; folders that are empty then go, too."""

    @abstractmethod
    def discard_unfinished(self, *, before: dt.datetime) -> int:
        """Gives up writes that began before that moment and have no name yet; returns how many."""

    @abstractmethod
    def require_usable(self, *, writing: bool) -> None:
        """Raises PlaceUnavailable if nothing could be read, or with `writing` written, as things are."""
