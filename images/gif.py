"""GIF, read and written block by block: frames keep their exact colours, places and timing; nothing else stays.

Pillow's own way to save an animation composes every frame and reduces it to a palette again, which loses colours and
costs seconds. Here each frame is decoded to its palette indices and encoded anew: what comes out was made here, byte by
byte, except for sizes, palettes, pixel indices, delays, disposal and the loop count.

Source: GIF89a specification (CompuServe, 1990); the NETSCAPE2.0 extension for the loop count.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

TRAILER, EXTENSION, IMAGE = 0x3B, 0x21, 0x2C
GRAPHIC_CONTROL, APPLICATION = 0xF9, 0xFF
LOOPING = {b"NETSCAPE2.0", b"ANIMEXTS1.0"}
MOST_BLOCKS = 10_000  # in a whole file; one made of nothing but empty comments would cost seconds
MAX_CODE_SIZE = 8  # bits of a palette index


class MalformedGif(ValueError):
    """The file is not a whole GIF."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of the file: where it stands, how it is shown, and its data still compressed.

    `palette` is None where the global one is meant; `control` has the disposal and transparency bits, `delay` is in
    hundredths of a second.
    """

    left: int
    top: int
    width: int
    height: int
    palette: bytes | None
    interlaced: bool
    control: int
    delay: int
    transparent: int
    code_size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Gif:
    """A GIF, taken apart. `width` and `height` enclose every frame; `loop` is None for one that plays once."""

    width: int
    height: int
    palette: bytes | None
    background: int
    loop: int | None
    frames: tuple[Frame, ...]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def exactly(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise MalformedGif("the file ends early")
        self.at += count
        return piece

    def byte(self) -> int:
        return self.exactly(1)[0]

    def palette(self, flags: int) -> bytes | None:
        return self.exactly(3 * 2 ** ((flags & 7) + 1)) if flags & 0x80 else None

    def blocks(self) -> bytes:
        """The data sub-blocks that follow, their lengths included, without the empty one that ends them."""
        start, at, data = self.at, self.at, self.data
        try:
            while size := data[at]:
                at += size + 1
        except IndexError:
            raise MalformedGif("the file ends early") from None
        self.at = at + 1
        return data[start:at]


def parse(file: BinaryIO, *, most_frames: int) -> Gif:
    """Takes a GIF apart without decompressing it. Stops after `most_frames` + 1 frames, so that a longer one is known.

    Raises:
        MalformedGif: the file is not a whole GIF.
    """
    file.seek(0)
    reader = _Reader(file.read())
    if reader.exactly(6) not in {b"GIF87a", b"GIF89a"}:
        raise MalformedGif("the signature is missing")
    width, height, flags, background, _ = struct.unpack("<HHBBB", reader.exactly(7))
    palette = reader.palette(flags)
    loop: int | None = None
    control, delay, transparent = 0, 0, 0
    frames: list[Frame] = []
    for _ in range(MOST_BLOCKS):
        kind = reader.byte()
        if kind == TRAILER:
            break
        if kind == IMAGE:
            frames.append(_frame(reader, control, delay, transparent))
            control, delay, transparent = 0, 0, 0
            if len(frames) > most_frames:
                break
        elif kind == EXTENSION:
            label, blocks = reader.byte(), reader.blocks()
            if label == GRAPHIC_CONTROL and blocks[:1] == b"\x04" and len(blocks) >= 5:
                control, delay, transparent = struct.unpack("<BHB", blocks[1:5])
            elif label == APPLICATION and blocks[1:12] in LOOPING and blocks[12:14] == b"\x03\x01":
                (loop,) = struct.unpack("<H", blocks[14:16])
        else:
            raise MalformedGif("an unknown block")
    else:
        raise MalformedGif("it consists of too many blocks")
    if not frames:
        raise MalformedGif("there is no frame")
    return Gif(
        width=max([width, *(frame.left + frame.width for frame in frames)]),
        height=max([height, *(frame.top + frame.height for frame in frames)]),
        palette=palette,
        background=background,
        loop=loop,
        frames=tuple(frames),
    )


def _frame(reader: _Reader, control: int, delay: int, transparent: int) -> Frame:
    left, top, width, height, flags = struct.unpack("<HHHHB", reader.exactly(9))
    frame = Frame(
        left=left,
        top=top,
        width=width,
        height=height,
        palette=reader.palette(flags),
        interlaced=bool(flags & 0x40),
        control=control,
        delay=delay,
        transparent=transparent,
        code_size=reader.byte(),
        data=reader.blocks(),
    )
    if not width or not height or not 1 <= frame.code_size <= MAX_CODE_SIZE:
        raise MalformedGif("a frame has no pixels or no codes")
    return frame


def indices(frame: Frame) -> Image.Image:
    """The palette indices of a frame, as an image of mode P with a palette of no meaning.

    Raises:
        MalformedGif: the data ends before the frame does, or is no LZW data.
    """
    size = (frame.width, frame.height)
    try:
        return Image.frombytes("P", size, frame.data, "gif", frame.code_size, int(frame.interlaced))
    except ValueError as error:
        raise MalformedGif(str(error)) from None


def first_frame(gif: Gif) -> Image.Image:
    """What is seen before the animation begins, as an RGBA image on a transparent canvas.

    Raises:
        MalformedGif: the data of the frame is damaged.
    """
    frame = gif.frames[0]
    picture = indices(frame)
    palette = frame.palette or gif.palette
    picture.putpalette(palette if palette is not None else bytes(n for n in range(256) for _ in range(3)))
    if frame.control & 1:
        picture.info["transparency"] = frame.transparent
    canvas = Image.new("RGBA", (gif.width, gif.height))
    canvas.paste(picture.convert("RGBA"), (frame.left, frame.top))
    return canvas


def write(gif: Gif, target: BinaryIO, *, indices: Callable[[Frame], Image.Image] = indices) -> None:
    """Writes the GIF anew; `indices` decodes a frame, whose pixels are then encoded afresh.

    Raises:
        MalformedGif: the data of a frame is damaged.
    """
    target.write(b"GIF89a")
    flags = 0x70 | _palette_flags(gif.palette)
    background = gif.background if gif.palette is not None else 0
    target.write(struct.pack("<HHBBB", gif.width, gif.height, flags, background, 0) + (gif.palette or b""))
    if gif.loop is not None:
        target.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", gif.loop) + b"\x00")
    for frame in gif.frames:
        control = frame.control & 0x1D  # disposal and transparency; not "wait for input" and the reserved bits
        target.write(struct.pack("<BBBBHBB", EXTENSION, GRAPHIC_CONTROL, 4, control, frame.delay, frame.transparent, 0))
        local = _palette_flags(frame.palette)
        target.write(
            struct.pack("<BHHHHB", IMAGE, frame.left, frame.top, frame.width, frame.height, local)
            + (frame.palette or b"")
        )
        target.write(b"\x08" + indices(frame).tobytes("gif", "P", 8, 0) + b"\x00")
    target.write(bytes([TRAILER]))


def _palette_flags(palette: bytes | None) -> int:
    return 0 if palette is None else 0x80 | ((len(palette) // 3).bit_length() - 2)
