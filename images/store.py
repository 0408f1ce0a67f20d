"""The store of image bytes: a Django storage, the entry `images` of STORAGES.

Names are `uploads/<id>.<extension>` for the picture and `uploads/<id>.avatar.webp`, `uploads/<id>.card.webp` beside it.
A name is written once and never changes.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import structlog
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages

from internal.problems import RETRY_AFTER, Problem, ProblemError

log = structlog.get_logger(__name__)

FOLDER = "uploads"
NAME = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(?:png|jpg|webp|gif|avatar\.webp|card\.webp)")

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DurableFileSystemStorage(FileSystemStorage):
    """Files that are whole and on the disk when `save` returns, or not there at all.

    Content is written to `<location>/incoming` and synced, then renamed to its name, and the folder is synced. What a
    crash leaves behind in `incoming` has no name that anything serves. Files can be read by everybody on the machine,
    since the server of stored images runs as another user.
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
        super().__init__(location, base_url, file_permissions_mode, directory_permissions_mode, **options)

    def _save(self, name: str, content: File[Any]) -> str:
        target = Path(self.path(name))
        incoming = Path(self.path(self.INCOMING))
        self._make_folder(incoming)
        self._make_folder(target.parent)
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


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def names(image_id: UUID, extension: str) -> tuple[str, str, str]:
    """The names of an image's picture, avatar and card in the store; with a slash in front they are its addresses."""
    stem = f"{FOLDER}/{image_id}"
    return f"{stem}.{extension}", f"{stem}.avatar.webp", f"{stem}.card.webp"


def storage() -> Storage:
    """The storage that the settings name."""
    return storages["images"]


@contextmanager
def failures_named() -> Iterator[None]:
    """Turns what a disk says into the problem that it stands for.

    Raises:
        ProblemError: storage_full, or storage_unavailable for any other failure of the store.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            log.error("image_store_full", reason=str(error.strerror))
            detail = "The image store is full. Nothing was stored; try again later."
            raise ProblemError(Problem("storage_full", detail)) from error
        log.error("image_store_unavailable", reason=str(error.strerror))
        detail = "The image store does not answer. Nothing was stored; try again later."
        raise ProblemError(Problem("storage_unavailable", detail, retry_after=RETRY_AFTER)) from error


def put(files: Mapping[str, BinaryIO]) -> None:
    """Stores the files under their names: all of them durably, or none.

    Raises:
        ProblemError: storage_full, storage_unavailable.
    """
    begun: list[str] = []
    try:
        with failures_named():
            for name, file in files.items():
                begun.append(name)
                storage().save(name, File(file))
    except BaseException:
        remove(begun)
        raise


def find(name: str) -> tuple[File[Any], dt.datetime] | None:
    """A stored file, opened, and when it was stored; None if there is none, or something that was not stored here."""
    try:
        stored_at = storage().get_modified_time(name)
        return storage().open(name), stored_at
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise


def remove(stored: Iterable[str]) -> None:
    """Removes the files, as far as they exist.

    A file that cannot be removed stays behind without a record; that is logged, and never an error of the caller.
    """
    for name in stored:
        try:
            storage().delete(name)
        except OSError as error:
            log.error("image_bytes_left_behind", reason=str(error.strerror))
