"""Files of each format with something hidden in every place that the format has for it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from PIL import Image

from tests.images import pictures
from tests.images.pictures import SECRET, animated, animation, photo, saved

MARK = SECRET.encode()


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with(data: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    """The PNG with more chunks ahead of its first one of that name."""
    at = data.index(before) - 4
    return data[:at] + b"".join(chunks) + data[at:]


def segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_with(data: bytes, *segments: bytes) -> bytes:
    """The JPEG with more segments behind its start."""
    return data[:2] + b"".join(segments) + data[2:]


def riff(name: bytes, data: bytes) -> bytes:
    """A chunk of a WebP."""
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def webp_with(data: bytes, *chunks: bytes) -> bytes:
    """The WebP with more chunks behind its own; one without an extended header is given it."""
    body = data[12:]
    if body[:4] != b"VP8X":
        width, height = pictures.opened(data).size
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = riff(b"VP8X", b"\0\0\0\0" + size) + body
    body += b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def marked_png(image: Image.Image | None = None) -> bytes:
    """Texts, EXIF, time, XMP, chunks of nobody, and something behind the end."""
    data = saved(image or photo(), "PNG", exif=pictures.exif(), pnginfo=pictures.png_text())
    data = png_with(data, chunk(b"tIME", b"\x07\xea\x01\x02\x03\x04\x05"), chunk(b"prVt", MARK), chunk(b"sPLT", MARK))
    return png_with(data, chunk(b"tEXt", b"Title\0" + MARK), chunk(b"prVt", MARK), before=b"IEND") + MARK


def marked_jpeg(image: Image.Image | None = None) -> bytes:
    """EXIF, XMP, IPTC, every application segment, comments, and something behind the end."""
    data = saved(image or photo(), "JPEG", exif=pictures.exif(), xmp=pictures.xmp(), comment=MARK)
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + len(MARK).to_bytes(4, "big") + MARK
    application = [segment(0xE0 + number, b"Hidden\0" + MARK) for number in range(1, 16) if number != 14]
    return jpeg_with(data, segment(0xED, iptc), *application, segment(0xFE, MARK)) + MARK


def marked_webp(image: Image.Image | None = None, *, lossless: bool = False) -> bytes:
    """EXIF, XMP, chunks of nobody, and something behind the end."""
    data = saved(image or photo(), "WEBP", exif=pictures.exif(), xmp=pictures.xmp(), lossless=lossless)
    return webp_with(data, riff(b"prVt", MARK), riff(b"IPTC", MARK)) + MARK


def marked_gif() -> bytes:
    """Comments, applications, texts, and something behind the end; an animation."""
    text = b"\x21\x01\x0c" + bytes(12) + bytes([len(MARK)]) + MARK + b"\0"
    data = pictures.with_gif_blocks(animated("GIF", animation(), duration=[40, 200, 70, 1000], comment=MARK))
    return data[:-1] + text + pictures.gif_blocks() + data[-1:] + MARK


def marked_animated_webp() -> bytes:
    """EXIF, XMP and chunks of nobody around an animation."""
    data = animated("WEBP", animation(), duration=50, exif=pictures.exif(), xmp=pictures.xmp())
    return webp_with(data, riff(b"prVt", MARK)) + MARK


MARKED: dict[str, Callable[[], bytes]] = {
    "PNG": marked_png,
    "JPEG": marked_jpeg,
    "WEBP": marked_webp,
    "lossless WEBP": lambda: marked_webp(lossless=True),
    "transparent WEBP": lambda: marked_webp(photo().convert("RGBA").rotate(20)),
    "animated WEBP": marked_animated_webp,
    "GIF": marked_gif,
}
