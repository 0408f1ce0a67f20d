"""A decoded picture upright, in sRGB with at most 8 bits a channel, and without anything else.

Colours are worked over strip by strip, so that a large picture is in memory once and not three times.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import product
from typing import cast

from PIL import Image, ImageChops, ImageCms

from images import faults

STRIP_PIXELS = 1_000_000

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_PROFILE_OF_MODE = {"L": "GRAY", "LA": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}
_STEPS = range(0, 256, 17)
_SAMPLES = Image.frombytes(
    "RGB", (len(_STEPS) ** 3, 1), bytes(value for colour in product(_STEPS, repeat=3) for value in colour)
)
_NOT_SEEN = 3  # of 255: makers of sRGB profiles round its numbers differently


def cleaned(image: Image.Image) -> Image.Image:
    """The loaded picture as it is to be kept; the one that was given is used up.

    Raises:
        ProblemError: deadline_exceeded.
    """
    turn = _UPRIGHT.get(_orientation(image))
    profile, transparency = image.info.get("icc_profile"), image.info.get("transparency")
    if image.mode.startswith("I"):
        image = _mapped(image, "L", _eight_bits)
        transparency = None
    image.info = {} if transparency is None else {"transparency": transparency}
    if profile:
        image = _in_srgb(image, profile)
    if image.mode == "CMYK":
        image = _mapped(image, "RGB", lambda strip: strip.convert("RGB"))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - a damaged note about the picture does not make the picture unusable
        return 1


def _eight_bits(strip: Image.Image) -> Image.Image:
    """Greys of 16 bits as browsers show them; Pillow itself would cut off everything above 255."""
    return strip.convert("I").point(lambda value: value * (1 / 257)).convert("L")


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The picture with its colours in sRGB; as it is where the profile is none, or one for another kind of picture."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = image.mode
        if mode in {"P", "1"} or "transparency" in image.info:
            mode = "RGBA" if image.has_transparency_data else "RGB" if mode == "P" else "L"
        if source.profile.xcolor_space.strip() != _PROFILE_OF_MODE[mode]:
            return image
        colours = {"LA": "L", "RGBA": "RGB"}.get(mode, mode)
        transform = ImageCms.buildTransform(source, _SRGB, colours, "RGB")
        if _changes_nothing(transform, colours):
            return image
    except (ImageCms.PyCMSError, OSError):
        return image
    if mode != image.mode:
        image = image.convert(mode)

    def converted(strip: Image.Image) -> Image.Image:
        alpha = strip.getchannel("A") if colours != strip.mode else None
        result = ImageCms.applyTransform(strip.convert(colours), transform)
        assert result is not None
        if colours == "L":
            result = result.convert("L")
        if alpha is not None:
            result.putalpha(alpha)
        return result

    return _mapped(image, "RGB" if colours == "CMYK" else image.mode, converted)


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether the colours are those of sRGB already. What the profile calls itself says nothing about that."""
    if mode == "CMYK":
        return False
    samples = _SAMPLES.getchannel("B") if mode == "L" else _SAMPLES
    converted = ImageCms.applyTransform(samples, transform)
    assert converted is not None
    difference = ImageChops.difference(converted, samples.convert("RGB"))
    return all(most <= _NOT_SEEN for _, most in cast(tuple[tuple[int, int], ...], difference.getextrema()))


def _mapped(image: Image.Image, mode: str, function: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """The picture with each strip replaced by what the function makes of it, in place where the mode stays."""
    target = image if image.mode == mode else Image.new(mode, image.size)
    for box in _strips(image.size):
        faults.check_deadline()
        target.paste(function(image.crop(box)), box)
    target.info = {}
    return target


def _strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    width, height = size
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)
