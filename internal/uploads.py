"""What bounds the files of a form while they arrive."""

from __future__ import annotations

from django.core.files.uploadhandler import FileUploadHandler

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
