"""Whether the images role can do its work. It stays Ready without its database: stored bytes can still be had."""

from __future__ import annotations

from django.db import Error

from images.models import Image
from images.store import storage as image_storage
from images.store.base import StorageUnavailable as StorageUnavailable


def storage() -> None:
    """Readiness: bytes could be stored as things are. A full disk and an outage are not asked about: reads go on.

    Raises:
        StorageUnavailable: they could not.
    """
    image_storage().require_usable()


def storage_is_up() -> bool:
    """Whether the store is usable now; takes a second at most."""
    return image_storage().is_up()


def database_is_up() -> bool:
    """Whether the database answers, and has the table of images."""
    try:
        Image.objects.exists()
    except Error:
        return False
    return True
