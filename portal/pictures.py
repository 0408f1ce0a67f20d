"""Stored images as the pages show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.template.defaultfilters import date as format_date
from django.template.defaultfilters import filesizeformat
from django.urls import reverse

from internal.contracts import StoredImage

_CARD_SIDE = 640
_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WebP", "image/gif": "GIF"}


def public_url(path: str) -> str:
    """The address under which a browser finds the stored file at `path` (as in StoredImage.path)."""
    return f"{settings.UPLOADS_URL.rstrip('/')}{path}"


@dataclass(frozen=True)
class Picture:
    """One image of a gallery. Addresses are absolute; sizes are pixels, and bytes for `size_bytes`."""

    id: UUID
    url: str
    avatar_url: str
    card_url: str
    page: str
    width: int
    height: int
    size_bytes: int
    format: str
    animated: bool
    created_at: datetime
    is_profile_image: bool

    @classmethod
    def of(cls, image: StoredImage) -> Picture:
        return cls(
            id=image.id,
            url=public_url(image.path),
            avatar_url=public_url(image.avatar_path),
            card_url=public_url(image.card_path),
            page=reverse("portal:image", args=[image.id]),
            width=image.width,
            height=image.height,
            size_bytes=image.size_bytes,
            format=_FORMATS.get(image.content_type, image.content_type),
            animated=image.animated,
            created_at=image.created_at,
            is_profile_image=image.is_profile_image,
        )

    @property
    def card_width(self) -> int:
        return max(1, round(self.width * self._card_scale))

    @property
    def card_height(self) -> int:
        return max(1, round(self.height * self._card_scale))

    @property
    def _card_scale(self) -> float:
        return min(1.0, _CARD_SIDE / max(self.width, self.height, 1))

    @property
    def alt(self) -> str:
        kind = "Animated image" if self.animated else "Image"
        return f"{kind} from {format_date(self.created_at, 'j F Y, H:i')}, {self.width} by {self.height} pixels"

    def to_json(self) -> dict[str, Any]:
        """What the upload script needs to add a card to the gallery."""
        return {
            "id": str(self.id),
            "url": self.url,
            "avatar_url": self.avatar_url,
            "card_url": self.card_url,
            "page": self.page,
            "width": self.width,
            "height": self.height,
            "card_width": self.card_width,
            "card_height": self.card_height,
            "size_bytes": self.size_bytes,
            "size": filesizeformat(self.size_bytes),
            "format": self.format,
            "animated": self.animated,
            "alt": self.alt,
            "created_at": self.created_at.isoformat().replace("+00:00", "Z"),
            "is_profile_image": self.is_profile_image,
        }
