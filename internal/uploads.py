"""What bounds the files of a form while they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.files.uploadhandler import FileUploadHandler, TemporaryFileUploadHandler

from internal.clients.images import IMAGE_LIMIT


class BoundedFiles(FileUploadHandler):
    """Stands before the handlers that keep files; of one that is too large it lets the rest run by, kept nowhere.

    What is kept of such a file is one chunk longer than IMAGE_LIMIT, so that its size still says that it is too large.
    `exceeded` tells whether there was one in this form.
    """

    exceeded = False

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Passes the chunk on, unless what came before it is too much already."""
        if start > IMAGE_LIMIT:
            return None
        if start + len(raw_data) > IMAGE_LIMIT:
            self.exceeded = True
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Leaves the file to the handlers after this one."""


class TemporaryFiles(TemporaryFileUploadHandler):
    """Django's own, for a disk that fills up: a file that has no room is let go of at once, and not when the garbage
    collector finds it. The rest of it runs by before OSError is raised: a client that is still sending would not see
    the answer.
    """

    _fault: OSError | None = None

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begins a file."""
        self._fault = None
        with self._noted(close=False):
            super().new_file(*args, **kwargs)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Appends the chunk, as long as there is room."""
        if self._fault is None:
            with self._noted():
                self.file.write(raw_data)

    def file_complete(self, file_size: int) -> Any:
        """The file, open at its beginning. Raises OSError if it had no room."""
        file = None
        if self._fault is None:
            with self._noted():
                file = super().file_complete(file_size)
        if self._fault is not None:
            raise self._fault
        return file

    @contextmanager
    def _noted(self, *, close: bool = True) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._fault = error
            if close:
                with suppress(OSError):
                    self.file.close()
