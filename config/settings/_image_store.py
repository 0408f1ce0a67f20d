"""The STORAGES entry of the image store: the file system on one machine."""

from __future__ import annotations

from typing import Any


def image_store(root: str) -> dict[str, Any]:
    """A store of image bytes under the folder `root`, whose `uploads/` the files role serves."""
    return {"BACKEND": "images.store.DurableFileSystemStorage", "OPTIONS": {"location": root, "base_url": "/"}}
