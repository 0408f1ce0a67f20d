"""What a PNG consists of, counted before anything of it is read.

Pillow goes through the chunks in Python, outside of any turn, and unpacks up to 1 MiB from each one that is a profile
or a text. An empty chunk takes twelve bytes.

Source: PNG specification (third edition), section 5.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from PIL import PngImagePlugin

from images import faults

MOST_PIXEL_CHUNKS = 20_000  # 10 MB in pieces of 512 bytes; libpng's are of 8 KB
MOST_OTHER_CHUNKS = 500

# Characters of all texts of a file together; one may take four bytes.
PngImagePlugin.MAX_TEXT_MEMORY = 8 * 1024**2

_SIGNATURE = 8  # bytes
_PIXELS = {b"IDAT", b"fdAT", b"fcTL"}


def check_chunks(file: BinaryIO) -> None:
    """Counts the chunks.

    Raises:
        ProblemError: not_an_image, when there are more than any picture needs.
    """
    pixels = others = 0
    file.seek(_SIGNATURE)
    while len(header := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", header)
        if name == b"IEND":
            break
        pixels += name in _PIXELS
        others += name not in _PIXELS
        if pixels > MOST_PIXEL_CHUNKS or others > MOST_OTHER_CHUNKS:
            raise faults.too_many_parts()
        file.seek(length + 4, 1)
