"""Pictures such as people store, drawn on the spot."""

from __future__ import annotations

import io
import secrets
from typing import Any

from PIL import Image


def photo() -> bytes:
    """A JPEG of 12 megapixels as a telephone takes it, held upright: noise of its sensor, and a place in its EXIF."""
    notes = Image.Exif()
    notes[0x0112] = 6  # to be turned by 90°
    notes.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return _saved(_scene(4000, 3000, noise=18), "JPEG", quality=90, exif=notes)


def screenshot() -> bytes:
    """A PNG of one megapixel."""
    return _saved(_scene(1250, 800, noise=3), "PNG")


def sticker() -> bytes:
    """A small WebP."""
    return _saved(_scene(320, 240, noise=6), "WEBP", quality=85)


def tiny() -> bytes:
    """A PNG of a few bytes, in a single colour of its own."""
    return _saved(Image.new("RGB", (64, 48), f"#{secrets.token_hex(3)}"), "PNG")


def _scene(width: int, height: int, *, noise: float) -> Image.Image:
    """Large and small shapes with soft borders, and noise of that standard deviation."""
    scene = _shapes(12, 9).resize((width, height), Image.Resampling.BICUBIC)
    details = _shapes(width // 12, height // 12).resize((width, height), Image.Resampling.BICUBIC)
    scene = Image.blend(scene, details, 0.2)
    grain = Image.effect_noise((width, height), noise).convert("RGB")
    return Image.blend(scene, grain, 0.3)


def _shapes(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), secrets.token_bytes(3 * width * height))


def _saved(image: Image.Image, name: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, format=name, **options)
    return target.getvalue()
