"""Images that were damaged or forged, each from a number: the same number gives the same bytes."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from PIL import Image

from tests.images import marked, pictures
from tests.images.pictures import animated, animation, corners, photo, saved

CLAIMS = (0, 1, 2, 63, 255, 256, 6324, 16383, 16384, 32767, 65535)  # of a width, a height, a count


def seeds() -> list[bytes]:
    """Good files of all formats and modes, with something hidden wherever there is a place for it.

    They are small, except for the last one: a JPEG of many scans.
    """
    small = photo(64, 48)
    clear = small.convert("RGBA").rotate(20)
    return [
        *(draw() for draw in marked.MARKED.values()),
        marked.marked_png(small),
        marked.marked_png(clear),
        marked.marked_png(corners(mode="P")),
        marked.marked_png(corners(mode="1")),
        marked.marked_png(small.convert("I;16")),
        saved(small, "PNG", icc_profile=pictures.adobe_profile(), exif=pictures.exif(7)),
        animated("PNG", animation(), duration=50),
        marked.marked_jpeg(small),
        saved(small.convert("CMYK"), "JPEG", progressive=True, comment=marked.MARK, exif=pictures.exif(6)),
        saved(small.convert("L"), "JPEG", comment=marked.MARK, icc_profile=pictures.adobe_profile()),
        marked.marked_webp(small),
        marked.marked_webp(clear, lossless=True),
        saved(clear, "WEBP", icc_profile=pictures.adobe_profile(), exif=pictures.exif(8)),
        animated("WEBP", animation(), duration=50, lossless=True),
        pictures.with_gif_blocks(saved(small, "GIF", interlace=1)),
        pictures.with_gif_blocks(animated("GIF", animation(3), duration=20, disposal=2)),
        saved(photo(2000, 1500).convert("L"), "JPEG", progressive=True, comment=marked.MARK),
    ]


def mutant(number: int, good: list[bytes]) -> bytes:
    """The mutant of that number."""
    chance = random.Random(number)  # noqa: S311 - draws test cases
    data = chance.choice(good)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        data = chance.choice(WAYS)(data, good, chance)
    return data if chance.random() < 0.3 else _with_right_sums(data)


def _bytes_flipped(data: bytes, good: list[bytes], chance: random.Random) -> bytes:
    changed = bytearray(data)
    end = chance.choice((64, 700, len(changed)))  # headers more often than pixels
    for _ in range(chance.choice((1, 2, 5, 20))):
        at = chance.randrange(min(end, len(changed)) or 1)
        if at < len(changed):
            changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(changed)


def _cut_off(data: bytes, good: list[bytes], chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _piece_missing(data: bytes, good: list[bytes], chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at + chance.choice((1, 2, 7, 100)) :]


def _piece_twice(data: bytes, good: list[bytes], chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[max(0, at - chance.choice((1, 4, 50, 500))) :]


def _marked_anywhere(data: bytes, good: list[bytes], chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + marked.MARK + data[at:]


def _of_two(data: bytes, good: list[bytes], chance: random.Random) -> bytes:
    other = chance.choice(good)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other)) :]


def _parts_mixed(data: bytes, good: list[bytes], chance: random.Random) -> bytes:
    head, parts = _parts(data)
    if not parts:
        return data
    at, to = chance.randrange(len(parts)), chance.randrange(len(parts))
    match chance.randrange(4):
        case 0:
            parts.insert(to, parts[at])
        case 1:
            parts[at], parts[to] = parts[to], parts[at]
        case 2:
            del parts[at]
        case _:
            parts[at:at] = _many(parts[at], chance.choice((2, 300, 100_000)))
    return head + b"".join(parts)


def _scans_repeated(data: bytes, good: list[bytes], chance: random.Random) -> bytes:
    """The last scan, or nothing but its header, again and again; that of the large picture for what has no scans."""
    at, end = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    if b"\xff\xc2" not in data or not 0 < at < end:
        data = good[-1]
        at, end = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    scan = data[at : chance.choice((end, at + 10))]
    return data[:end] + b"".join(_many(scan, chance.choice((2, 60, 100_000)))) + data[end:]


def _many(part: bytes, count: int) -> list[bytes]:
    """The part so many times, or as often as fits into a few megabytes."""
    return [part] * min(count, 4_000_000 // max(len(part), 1))


def _length_lying(data: bytes, good: list[bytes], chance: random.Random) -> bytes:
    head, parts = _parts(data)
    if not parts:
        return data
    at = chance.randrange(len(parts))
    part = parts[at]
    lie = chance.choice((0, 1, len(part), len(part) - 13, 0x7FFF, 0x7FFFFFFF, 0xFFFFFFFF)) & 0xFFFFFFFF
    if data.startswith(b"\x89PNG"):
        parts[at] = struct.pack(">I", lie) + part[4:]
    elif data.startswith(b"RIFF"):
        parts[at] = part[:4] + struct.pack("<I", lie) + part[8:]
    else:
        parts[at] = part[:2] + struct.pack(">H", lie & 0xFFFF) + part[4:]
    return head + b"".join(parts)


def _size_lying(data: bytes, good: list[bytes], chance: random.Random) -> bytes:
    across, down = chance.choice(CLAIMS), chance.choice(CLAIMS)
    changed = bytearray(data)
    try:
        if data.startswith(b"\x89PNG"):
            struct.pack_into(">II", changed, 16, across, down)
        elif data.startswith(b"GIF"):
            at = chance.choice((6, max(6, data.find(b",", 13) + 5)))
            struct.pack_into("<HH", changed, at, across, down)
        elif data.startswith(b"RIFF"):
            if data[12:16] == b"VP8X" and chance.random() < 0.5:
                changed[24:30] = across.to_bytes(3, "little") + down.to_bytes(3, "little")
            elif (at := data.find(b"\x9d\x01\x2a")) > 0:
                struct.pack_into("<HH", changed, at + 3, across, down)
            elif (at := data.find(b"VP8L")) > 0:
                struct.pack_into("<I", changed, at + 9, (across & 0x3FFF) | (down & 0x3FFF) << 14)
        else:
            at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
            struct.pack_into(">HH", changed, at + 5, down, across)
    except struct.error:
        return data
    return bytes(changed)


WAYS: tuple[Callable[[bytes, list[bytes], random.Random], bytes], ...] = (
    _bytes_flipped,
    _bytes_flipped,
    _cut_off,
    _piece_missing,
    _piece_twice,
    _marked_anywhere,
    _of_two,
    _parts_mixed,
    _parts_mixed,
    _scans_repeated,
    _length_lying,
    _size_lying,
)


def _parts(data: bytes) -> tuple[bytes, list[bytes]]:
    """Signature and parts of a file: chunks, or the segments ahead of the pixels; none for a GIF, or for no image."""
    if data.startswith(b"\x89PNG"):
        return data[:8], _cut(data, 8, lambda at: 12 + int.from_bytes(data[at : at + 4], "big"))
    if data.startswith(b"RIFF"):
        return data[:12], _cut(data, 12, lambda at: 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2)
    if data.startswith(b"\xff\xd8"):
        return data[:2], _cut(data, 2, lambda at: 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
    return data, []


def _cut(data: bytes, at: int, length: Callable[[int], int]) -> list[bytes]:
    parts = []
    while at < len(data) and len(parts) < 5000:
        end = at + max(length(at), 1)
        parts.append(data[at:end])
        at = end
    return parts


def _with_right_sums(data: bytes) -> bytes:
    """A PNG whose checksums are right again, a WebP whose length is, so that what was changed is looked at."""
    head, parts = _parts(data)
    if data.startswith(b"\x89PNG"):
        for number, part in enumerate(parts):
            size = int.from_bytes(part[:4], "big")
            if len(part) == size + 12:
                parts[number] = part[:-4] + struct.pack(">I", zlib.crc32(part[4:-4]))
        return head + b"".join(parts)
    if data.startswith(b"RIFF") and len(data) >= 12:
        return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    return data


def without_colours(data: bytes) -> bytes:
    """What is stored, without palettes and without the scan of a JPEG: colours, whatever they spell."""
    if data.startswith(b"\xff\xd8"):
        scan = data.index(b"\xff\xda")
        return data[:scan] + data[data.index(b"\xff\xd9", scan) :]
    if not data.startswith(b"GIF"):
        return data
    blank, at = bytearray(data), 6
    flags, at = data[10], 13
    while True:
        size = 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
        blank[at : at + size] = bytes(size)
        at = _after_blocks(data, at + size) if at > 13 else at + size
        while data[at] == 0x21:
            at = _after_blocks(data, at + 1)
        if data[at] != 0x2C:
            return bytes(blank)
        flags, at = data[at + 9], at + 10


def _after_blocks(data: bytes, at: int) -> int:
    at += 1
    while size := data[at]:
        at += size + 1
    return at + 1


def loads(image: Image.Image) -> bool:
    """Whether each frame can be decoded."""
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        image.load()
    return True
