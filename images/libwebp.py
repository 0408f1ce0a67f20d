"""Decoding a WebP still by libwebp itself, the one that Pillow brings along.

Pillow opens every WebP file as an animation, which sets up the canvas several times: 640 MB for 40 million pixels.
Here the pixels are written once, where they stay.

Source: libwebp, src/webp/decode.h.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from PIL import Image


class UndecodableError(ValueError):
    """The file is damaged or incomplete."""


def decoded(data: bytes, size: tuple[int, int], *, transparent: bool) -> Image.Image | None:
    """The picture of a file whose header names that size, as RGBA if it may be transparent, else as RGB.

    None where Pillow's libwebp cannot be called: what Pillow itself does has to do there.

    Raises:
        UndecodableError: the file is damaged or incomplete.
    """
    decode = _decoder()
    if decode is None:
        return None
    width, height = size
    pixels = bytearray(width * height * 4)
    start = (ctypes.c_uint8 * len(pixels)).from_buffer(pixels)
    if not decode(data, len(data), start, len(pixels), width * 4):
        raise UndecodableError("libwebp cannot decode the file")
    mode = "RGBA" if transparent else "RGBX"
    image = Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1)
    image.readonly = 0  # the pixels are this image's own
    return image if transparent else image.convert("RGB")


@cache
def _decoder() -> Any:
    try:
        from PIL import _webp

        # A library is searched together with those that it is linked with.
        decode = ctypes.CDLL(_webp.__file__).WebPDecodeRGBAInto
    except (ImportError, OSError, AttributeError):
        return None
    # data, its size in bytes, where the pixels go, bytes of room there, bytes of a row
    decode.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    decode.restype = ctypes.c_void_p
    return decode
