"""The store in a folder of this machine, or of a volume."""

from __future__ import annotations

import datetime as dt
import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.files.storage import FileSystemStorage

from images.store.base import FOLDER, ImageStorage, StorageUnavailable, Stored


class DurableFileSystemStorage(FileSystemStorage, ImageStorage):
    """Files that are whole and on the disk when `save` returns, or not there at all.

    Content is written to `<location>/incoming` and synced, then renamed to its name, and the folder is synced. What a
    crash leaves behind in `incoming` has no name that anything serves. Files can be read by everybody on the machine,
    since the server of stored images runs as another user. A name that is saved again has its new content afterwards.
    """

    INCOMING = "incoming"

    def __init__(
        self,
        location: str | os.PathLike[str] | None = None,
        base_url: str | None = None,
        file_permissions_mode: int = 0o644,
        directory_permissions_mode: int = 0o755,
        **options: Any,
    ) -> None:
        options = {"allow_overwrite": True, **options}
        super().__init__(location, base_url, file_permissions_mode, directory_permissions_mode, **options)
        self._furnished = self._has_folder()

    def furnish(self) -> None:
        """Makes the folders of a new store, where that is possible: in the process of which all others are forks, so
        that each of them knows from then on that there are folders.
        """
        root = Path(self.path(""))
        if root.is_dir() and os.access(root, os.W_OK | os.X_OK):
            with suppress(OSError):
                self._furnish(root / self.INCOMING, root / FOLDER)

    def _save(self, name: str, content: File[Any]) -> str:
        target = Path(self.path(name))
        incoming = Path(self.path(self.INCOMING))
        self._furnish(incoming, target.parent)
        handle, temporary = tempfile.mkstemp(dir=incoming)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                assert self.file_permissions_mode is not None
                os.fchmod(file.fileno(), self.file_permissions_mode)
                os.fsync(file.fileno())
            os.rename(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
        return name

    def _furnish(self, *folders: Path) -> None:
        """Makes the folders of a new store, once. If they are missing later, the volume was taken away: what is stored
        in its place would be hidden as soon as it is back.
        """
        if not self._furnished:
            for folder in folders:
                self._make_folder(folder)
            self._furnished = True
        elif self._has_folder():  # a copy of a store may have come without the folder that is empty most of the time
            self._make_folder(Path(self.path(self.INCOMING)))

    def _has_folder(self) -> bool:
        return os.path.isdir(self.path(FOLDER))

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        assert self.directory_permissions_mode is not None
        folder.mkdir(exist_ok=True)
        folder.chmod(self.directory_permissions_mode)
        _sync_folder(folder.parent)

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        # A symbolic link in the store is nothing that we put there.
        def without_following(path: str, flags: int) -> int:
            return os.open(path, flags | os.O_NOFOLLOW)

        return File(open(self.path(name), mode, opener=without_following))

    def opened(self, name: str) -> tuple[File[Any], dt.datetime]:
        try:
            file = self.open(name)
        except IsADirectoryError:
            raise FileNotFoundError(errno.ENOENT, "it is a folder") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise FileNotFoundError(errno.ENOENT, "it is a link") from None
            raise
        return file, _moment(os.fstat(file.fileno()))

    def look(self, name: str) -> Stored:
        status = os.stat(self.path(name), follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "it is no file")
        return Stored(name, status.st_size, _moment(status))

    def listing(self) -> Iterator[Stored]:
        return self._files(FOLDER)

    def unfinished(self) -> Iterator[Stored]:
        return self._files(self.INCOMING)

    def _files(self, folder: str) -> Iterator[Stored]:
        waiting = [folder]
        while waiting:
            folder = waiting.pop()
            with suppress(FileNotFoundError), os.scandir(self.path(folder)) as entries:
                for entry in entries:
                    name = f"{folder}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                        continue
                    with suppress(FileNotFoundError):  # it may go at any moment
                        status = entry.stat(follow_symlinks=False)
                        yield Stored(name, status.st_size, _moment(status))

    def discard(self, unfinished: Stored) -> None:
        Path(self.path(unfinished.name)).unlink(missing_ok=True)

    def remove(self, names: Iterable[str]) -> dict[str, str]:
        names = list(names)
        left = {}
        for name in names:
            try:
                self.delete(name)
            except OSError as error:
                left[name] = str(error.strerror)
        try:
            _sync_folder(Path(self.path(FOLDER)))  # a power cut brings nothing back; nor does a volume that is away
        except OSError as error:
            return dict.fromkeys(names, str(error.strerror)) | left
        return left

    def require_usable(self) -> None:
        """The folder of the store is there and may be written to. A full disk is not asked about: reads go on."""
        root = self.path("")
        if not os.path.isdir(root):
            raise StorageUnavailable("the folder of the image store does not exist")
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            raise StorageUnavailable("the folder of the image store is not writable")
        if self._has_folder():
            self._furnished = True
        elif self._furnished:
            raise StorageUnavailable("the folder of the image store is empty now, and was not before: is it mounted?")

    def is_up(self) -> bool:
        try:
            self.require_usable()
        except StorageUnavailable:
            return False
        return True


def _moment(status: os.stat_result) -> dt.datetime:
    return dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
