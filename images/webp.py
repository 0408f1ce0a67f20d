"""What the container of a WebP file says before anything is decoded.

Pillow's WebP decoder sets up the whole canvas when it opens a file, and does not tell lossless from lossy. Notes about
the picture (EXIF, colour profile) are found here for stills, which Pillow does not open.

Source: RFC 9649, sections 2.3 to 2.7.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

MOST_CHUNKS = 1000  # in a whole file; one made of nothing but empty chunks would cost seconds
CHUNK_HEADER = 8  # bytes
LARGEST_SIDE = 16383  # pixels, of any picture in such a file; only the claim of a canvas can be larger
NOTES = {b"ICCP": "icc_profile", b"EXIF": "exif", b"XMP ": "xmp"}  # chunks, and what Pillow calls them
FRAME_HEADER = 16  # bytes of an ANMF chunk ahead of its own chunks


@dataclass(frozen=True, slots=True)
class WebpHeader:
    """What a WebP file says of itself.

    Canvas in pixels; how long each frame of an animation is shown, in milliseconds (none for a still); how often it is
    played (0 for ever); whether no part of it is lossy; whether it may be transparent.
    """

    width: int
    height: int
    durations: tuple[int, ...]
    loop: int
    lossless: bool
    transparent: bool


def parse(file: BinaryIO) -> WebpHeader | None:
    """Reads the container's header and the list of its chunks; None if it is not that of a WebP file."""
    file.seek(0)
    signature = file.read(12)
    if signature[:4] != b"RIFF" or signature[8:] != b"WEBP":
        return None
    size: tuple[int, int] | None = None
    durations: list[int] = []
    loop = 0
    names: set[bytes] = set()
    transparent = False
    for name, head in islice(_chunks(file), MOST_CHUNKS):
        if size is None:
            size = _canvas(name, head)
        names.add(name)
        # A lossless picture says it itself; of a lossy one a chunk ahead of it is the transparency.
        transparent |= name == b"ALPH" or (name == b"VP8L" and len(head) >= 5 and bool(head[4] & 0x10))
        if name == b"ANIM":
            loop = int.from_bytes(head[4:6], "little")
        elif name == b"ANMF":
            durations.append(int.from_bytes(head[12:15], "little"))
            names.update(inner for inner, _ in _chunks(io.BytesIO(head[FRAME_HEADER:])))
    if size is None:
        return None
    lossless = names.isdisjoint({b"VP8 ", b"ALPH"})
    return WebpHeader(*size, tuple(durations), loop=loop, lossless=lossless, transparent=transparent)


def notes(file: BinaryIO) -> dict[str, bytes]:
    """What the file says about its picture, under the names of Pillow's `info`; the first of each kind."""
    file.seek(12)
    found: dict[str, bytes] = {}
    for name, start, length in islice(_places(file), MOST_CHUNKS):
        if name in NOTES and NOTES[name] not in found:
            file.seek(start)
            found[NOTES[name]] = file.read(length)
    return found


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Name and first bytes of each chunk, as far as the file goes."""
    for name, _, length in _places(file):
        yield name, file.read(min(length, 64))


def _places(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of each chunk, as far as the file goes; the file stands at the chunk's content."""
    while len(header := file.read(CHUNK_HEADER)) == CHUNK_HEADER:
        name, length = struct.unpack("<4sI", header)
        start = file.tell()
        yield name, start, length
        file.seek(start + length + length % 2)


def _canvas(name: bytes, head: bytes) -> tuple[int, int] | None:
    if name == b"VP8X" and len(head) >= 10:
        across, down = int.from_bytes(head[4:7], "little"), int.from_bytes(head[7:10], "little")
        return across + 1, down + 1
    if name == b"VP8L" and len(head) >= 5 and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and len(head) >= 10 and head[3:6] == b"\x9d\x01\x2a":
        across, down = struct.unpack("<HH", head[6:10])
        return across & 0x3FFF, down & 0x3FFF
    return None
