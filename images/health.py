"""Whether the images role can do its work. It stays Ready without its database: stored bytes can still be had."""

from __future__ import annotations

import os

from django.db import Error, connections, router

from images.models import Image
from images.store import storage as image_storage


class StorageUnavailable(Exception):
    """The image store is not there, or nothing can be written to it."""


def storage() -> None:
    """Readiness: the folder of the store is there and may be written to. A full disk is not asked about: reads go on.

    Raises:
        StorageUnavailable: it is not.
    """
    root = image_storage().path("")
    if not os.path.isdir(root):
        raise StorageUnavailable("the folder of the image store does not exist")
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        raise StorageUnavailable("the folder of the image store is not writable")


def storage_is_up() -> bool:
    """Whether the store is usable."""
    try:
        storage()
    except StorageUnavailable:
        return False
    return True


def database_is_up() -> bool:
    """Whether the database answers."""
    try:
        with connections[router.db_for_read(Image)].cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True
