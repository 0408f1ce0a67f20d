"""The formats that we accept and store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A format that we accept: its media type and the extension of its stored names."""

    content_type: str
    extension: str


KINDS = {
    "PNG": Kind("image/png", "png"),
    "JPEG": Kind("image/jpeg", "jpg"),
    "WEBP": Kind("image/webp", "webp"),
    "GIF": Kind("image/gif", "gif"),
}
