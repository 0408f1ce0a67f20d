"""The small pictures made from an image: the avatar and the card, in WebP.

Addresses of stored files are immutable for every cache. So whoever changes what is made here (a side, an option, the
way of resizing) raises DERIVATION too: the new pictures get new names, and no cache shows an old one. Then
`manage.py images derive` remakes those of all images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

DERIVATION = 1  # which avatar and card are made; part of their names from 2 on

AVATAR_SIDE = 256  # pixels; a square, covered by the middle of the picture
CARD_SIDE = 640  # pixels; the picture fits into this square, and is never scaled up
DERIVATIVE_OPTIONS = {"quality": 82, "method": 4}


def avatar_size(size: tuple[int, int]) -> tuple[int, int]:
    """How large the avatar of a picture of that size is, in pixels."""
    return AVATAR_SIDE, AVATAR_SIDE


def card_size(size: tuple[int, int]) -> tuple[int, int]:
    """How large the card of a picture of that size is, in pixels."""
    scale = min(1, CARD_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def avatar(image: Image.Image) -> Image.Image:
    """The middle square of the picture, at the size of an avatar."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return _resizable(image).resize(avatar_size(image.size), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def card(image: Image.Image) -> Image.Image:
    """The whole picture, at most as large as a card."""
    size = card_size(image.size)
    if size == image.size:
        return _resizable(image)
    return _resizable(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def save(image: Image.Image, target: BinaryIO) -> None:
    """Writes an avatar or a card."""
    image.save(target, format="WEBP", **DERIVATIVE_OPTIONS)


def _resizable(image: Image.Image) -> Image.Image:
    if image.mode in {"P", "1"} or "transparency" in image.info:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the small pictures: what it is called, how large it is, and how it is made."""

    name: str
    size: Callable[[tuple[int, int]], tuple[int, int]]
    made: Callable[[Image.Image], Image.Image]


AVATAR = Kind("avatar", avatar_size, avatar)
CARD = Kind("card", card_size, card)
