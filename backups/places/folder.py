"""Backups in a folder: of this machine, of a volume, of another machine's disk that is mounted."""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage

from backups.places.base import CHUNK, BackupPlace, Kept, PlaceUnavailable

PARTIAL = ".partial"


class BackupFolder(FileSystemStorage, BackupPlace):
    """A folder for each backup. Only its owner can look into them: they hold what people would not tell.

    A piece is written beside its name, synced and renamed: there is never half of one under its name.
    """

    def __init__(self, *, location: str, **options: Any) -> None:
        super().__init__(location, None, 0o600, 0o700, **options)

    @property
    def called(self) -> str:
        return f"the folder {self.location}"

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        target = Path(self.path(name))
        if not target.parent.is_dir():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(target.parent.parent)
        partial = target.with_name(target.name + PARTIAL)
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for chunk in chunks:
                    left = memoryview(chunk)
                    while left:
                        left = left[file.write(left) :]
                os.fsync(descriptor)
            os.rename(partial, target)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)

    def read(self, name: str) -> Generator[bytes, None, None]:
        with open(self.path(name), "rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def kept(self) -> Iterator[Kept]:
        with os.scandir(self.location) as entries:
            folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        for folder in folders:
            with suppress(FileNotFoundError), os.scandir(self.path(folder)) as entries:  # it may go at any moment
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        modified = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)
                        yield Kept(f"{folder}/{entry.name}", status.st_size, modified)

    def remove(self, names: Iterable[str]) -> None:
        folders: dict[Path, None] = {}
        for name in names:
            path = Path(self.path(name))
            path.unlink(missing_ok=True)
            folders[path.parent] = None
        for folder in folders:
            with suppress(OSError):  # somebody has put something else there
                folder.rmdir()
        _sync_folder(Path(self.location))

    def discard_unfinished(self, *, before: dt.datetime) -> int:
        """Nothing: what is unfinished has a name here, and lies in the folder of its backup."""
        return 0

    def require_usable(self, *, writing: bool) -> None:
        root = Path(self.location)
        if not root.is_dir():
            raise PlaceUnavailable("there is no such folder: make it, mount it, or correct BACKUP_ROOT")
        needed = os.R_OK | os.X_OK | (os.W_OK if writing else 0)
        if not os.access(root, needed, effective_ids=True):
            what = "written to" if writing else "read"
            raise PlaceUnavailable(f"it cannot be {what} by user {os.geteuid()}: change its owner or permissions")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
