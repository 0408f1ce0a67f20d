"""Pictures for the tests, drawn on the spot: nothing binary is kept in the repository."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

SECRET = "SECRET-PLACE"  # what must never come out again, wherever it was hidden


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    """The image as a file of that format."""
    target = io.BytesIO()
    image.save(target, format=name, **options)
    return target.getvalue()


def opened(data: bytes) -> Image.Image:
    """The file as an image."""
    return Image.open(io.BytesIO(data))


def corners(width: int = 40, height: int = 24, mode: str = "RGB") -> Image.Image:
    """A picture whose four quarters are red, green, blue and white, clockwise from the top left."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    across, down = width // 2, height // 2
    draw.rectangle((0, 0, across - 1, down - 1), "red")
    draw.rectangle((across, 0, width, down - 1), "lime")
    draw.rectangle((across, down, width, height), "blue")
    return image.convert(mode)


def photo(width: int = 320, height: int = 200) -> Image.Image:
    """Something with gradients, as a camera would see it."""
    red = Image.linear_gradient("L").resize((width, height))
    green = Image.radial_gradient("L").resize((width, height))
    return Image.merge("RGB", (red, green, red.transpose(Image.Transpose.ROTATE_180)))


def exif(orientation: int = 1) -> Image.Exif:
    """EXIF with an orientation, a place (GPS) and texts."""
    notes = Image.Exif()
    notes[0x0112] = orientation
    notes[0x010E] = SECRET  # ImageDescription
    notes[0x013B] = SECRET  # Artist
    notes.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0), 29: SECRET})
    return notes


def xmp() -> bytes:
    """XMP with a place."""
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><p>{SECRET}</p></x:xmpmeta>'.encode()


def png_text() -> PngImagePlugin.PngInfo:
    """Texts of all three kinds in a PNG."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET)
    info.add_text("Compressed", SECRET, zip=True)
    info.add_itxt("XML:com.adobe.xmp", xmp().decode())
    return info


def gif_blocks() -> bytes:
    """Comment and application extensions of a GIF."""
    secret = SECRET.encode()
    comment = b"\x21\xfe" + bytes([len(secret)]) + secret + b"\x00"
    application = b"\x21\xff\x0bXMP DataXMP" + bytes([len(secret)]) + secret + b"\x00"
    return comment + application


def with_gif_blocks(data: bytes) -> bytes:
    """The GIF with those blocks behind its header and palette."""
    flags = data[10]
    start = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    return data[:start] + gif_blocks() + data[start:]


def swapped_profile() -> bytes:
    """A colour profile in which red means blue and the other way round; no browser could take it for sRGB."""
    raw = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    raw = raw.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    return raw.replace("sRGB".encode("utf-16-be"), SECRET[:4].encode("utf-16-be"))


# Columns of Adobe RGB in XYZ, adapted to D50: red, green, blue.
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
ADOBE_GAMMA = 563 / 256
_SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
_XYZ_TO_SRGB = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)


def adobe_profile() -> bytes:
    """A colour profile of Adobe RGB (1998)."""
    return _profile(SECRET, ADOBE_RGB, ADOBE_GAMMA)


def linear_profile(description: str) -> bytes:
    """A colour profile with the colours of sRGB and values that are proportional to light."""
    return _profile(description, _SRGB, 1)


def _profile(description: str, primaries: tuple[tuple[float, ...], ...], gamma: float) -> bytes:
    """A colour profile made of numbers alone (ICC.1:2001-04)."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    text = description.encode() + b"\0"
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + text,
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249),
    }
    for letter, column in zip(b"rgb", primaries, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*column)
        tags[bytes([letter]) + b"TRC"] = curve
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + table + body


def adobe_in_srgb(colour: tuple[int, int, int]) -> tuple[int, ...]:
    """A colour of Adobe RGB in sRGB, by the formulas of both."""
    linear = [(value / 255) ** ADOBE_GAMMA for value in colour]
    place = [sum(linear[band] * ADOBE_RGB[band][axis] for band in range(3)) for axis in range(3)]
    result = []
    for row in _XYZ_TO_SRGB:
        light = min(max(sum(factor * part for factor, part in zip(row, place, strict=True)), 0), 1)
        value = 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055
        result.append(round(value * 255))
    return tuple(result)


def animation(count: int = 4, size: tuple[int, int] = (48, 32)) -> list[Image.Image]:
    """Frames whose colours differ, so that no palette fits all of them."""
    frames = []
    for number in range(count):
        frame = photo(*size).rotate(number * 90)
        ImageDraw.Draw(frame).rectangle((number * 3, 4, number * 3 + 8, 12), fill=(255, 40 * number % 256, 0))
        frames.append(frame)
    return frames


def animated(name: str, frames: list[Image.Image], **options: Any) -> bytes:
    """The frames as an animation of that format."""
    return saved(frames[0], name, save_all=True, append_images=frames[1:], **options)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def png_in_pieces(data: bytes, size: int) -> bytes:
    """The PNG with its pixels in chunks of at most so many bytes."""
    result, at = data[:8], 8
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        at += length + 12
        pieces = [content]
        if name == b"IDAT":
            pieces = [content[start : start + size] for start in range(0, length, size)]
        for piece in pieces:
            result += struct.pack(">I", len(piece)) + name + piece + struct.pack(">I", zlib.crc32(name + piece))
    return result


def with_scans(data: bytes, count: int) -> bytes:
    """The progressive JPEG with so many more scans, in each of which nothing more is said of its first component."""
    frame, end = data.index(b"\xff\xc2"), data.rindex(b"\xff\xd9")
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, data[frame + 10], 0, 1, 63, 0x10)
    return data[:end] + scan * count + data[end:]


def webp_canvas(width: int, height: int) -> bytes:
    """A WebP animation that claims a canvas and has no frame."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\x00\x00\x00" + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


def frames_of(data: bytes) -> list[bytes]:
    """What is seen of each frame, as RGBA pixels."""
    image = opened(data)
    seen = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        seen.append(image.convert("RGBA").tobytes())
    return seen


def durations_of(data: bytes) -> list[int]:
    """How long each frame is shown, in milliseconds."""
    image = opened(data)
    times = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        image.load()
        times.append(int(image.info["duration"]))
    return times
