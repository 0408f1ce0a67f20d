"""What every store of images can do beyond a Django storage, and what can be wrong with it."""

from __future__ import annotations

import datetime as dt
import errno
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.files import File
from django.core.files.storage import Storage

FOLDER = "uploads"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the store as it lists it: `size` in bytes, and when it was stored.

    `handle` is for the store itself, where a name is not enough to discard an unfinished write.
    """

    name: str
    size: int
    modified: dt.datetime
    handle: str = field(default="", repr=False, compare=False)


class StorageUnavailable(OSError):
    """The store is not there, or not as it must be."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EIO, reason)

    def __str__(self) -> str:
        return str(self.strerror)


class ImageStorage(Storage):
    """A Django storage for images. Its methods raise OSError: ENOSPC and its like where there is no room."""

    @abstractmethod
    def opened(self, name: str) -> tuple[File[Any], dt.datetime]:
        """A file, and when it was stored. Raises FileNotFoundError for whatever was not stored here."""

    @abstractmethod
    def look(self, name: str) -> Stored:
        """What is known of a file without opening it. Raises FileNotFoundError as `opened` does."""

    @abstractmethod
    def listing(self) -> Iterator[Stored]:
        """Everything below `uploads/`, in no order, read as it is asked for."""

    @abstractmethod
    def unfinished(self) -> Iterator[Stored]:
        """Writes that have begun and not ended: those under way, and what crashes have left."""

    @abstractmethod
    def discard(self, unfinished: Stored) -> None:
        """Gives one of these up; no error if it is gone."""

    @abstractmethod
    def remove(self, names: Iterable[str]) -> dict[str, str]:
        """Removes files as far as they exist; returns those that could not be removed, each with the reason."""

    def furnish(self) -> None:
        """Makes what a new store needs, when a role starts."""

    @abstractmethod
    def require_usable(self) -> None:
        """Readiness. Raises StorageUnavailable if nothing could ever be stored as things are."""

    @abstractmethod
    def is_up(self) -> bool:
        """Whether the store answers and is as it must be; takes a second at most."""
