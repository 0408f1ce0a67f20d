"""Where backups are kept: a Django storage, the entry `backups` of STORAGES, in a folder or on S3.

Names are `<id of the backup>/<piece>`. What is written under a name appears there whole or not at all.
"""

from __future__ import annotations

from typing import cast

from django.conf import settings
from django.core.files.storage import storages

from backups.errors import Stopped
from backups.places.base import BackupPlace as BackupPlace
from backups.places.base import Kept as Kept
from backups.places.base import PlaceUnavailable as PlaceUnavailable


def place() -> BackupPlace:
    """The place that the settings name.

    Raises:
        Stopped: they name none.
    """
    if "backups" not in settings.STORAGES:
        raise Stopped(
            "BACKUP_STORE is not set: set BACKUP_STORE=filesystem and BACKUP_ROOT to a folder, or BACKUP_STORE=s3 and "
            "the variables of a bucket."
        )
    return cast(BackupPlace, storages["backups"])
