"""Whether a file is an image that we accept, and what is kept of it.

What a file is, only its decoding decides: names and headers of the upload play no part. The sizes that a file claims
are checked before a single pixel is decoded. What is kept is made anew from the pixels: orientation applied, colours in
sRGB, and nothing that is not the picture (EXIF with its places, XMP, IPTC, comments, texts, colour profiles, whatever
stood behind the end). A picture stays in its format, except for a WebP that is too large
to be encoded as one; an animated PNG becomes its first frame.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeVar, cast

from django.conf import settings
from PIL import Image, ImageFile

from images import derivatives, faults, gif, jpeg, limits, png, turns, webp
from images.animations import Gif, WebpAnimation
from images.kinds import KINDS as KINDS
from images.kinds import Kind
from images.stills import Still

# Pillow's own guards, for the whole process. Up to twice its limit it only warns; here that is an error, too.
Image.MAX_IMAGE_PIXELS = limits.MAX_PIXELS
ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.simplefilter("error", Image.DecompressionBombWarning)

MOST_SHARED_MEMORY = 200_000_000  # bytes: a picture that takes more is worked on alone in the role
SECONDS_A_PIXEL = 0.1e-6  # that the work takes; what cannot be done in time is not begun
SECONDS_A_PIXEL_OF_A_SCAN = 1e-9  # in which it is but gone over; what is decoded there is bounded by the file's size

_T = TypeVar("_T")
_HEAD = 512  # bytes that are looked at for a message that helps
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"RIFF": "WEBP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes ready to be stored: an open temporary file, its length in bytes and its SHA-256 in hexadecimal."""

    file: BinaryIO
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Converted:
    """An accepted picture as it is to be stored. Width and height are in pixels, with the orientation applied."""

    kind: Kind
    width: int
    height: int
    animated: bool
    original: Encoded
    avatar: Encoded
    card: Encoded


class _Picture(Protocol):
    """A file whose claims were found acceptable; nothing of it is decoded yet."""

    animated: bool
    size: tuple[int, int]
    frames: int
    scans: int  # that each pixel is gone over in

    @property
    def memory(self) -> int:
        """About how many bytes the work takes at its height."""

    def decode(self) -> None:
        """Decodes every pixel of every frame."""

    def still(self) -> Image.Image:
        """The picture, or the first frame, upright, in sRGB."""

    def save(self, target: BinaryIO) -> Kind:
        """Writes the picture anew, and says as what."""


def check(source: BinaryIO) -> None:
    """Decodes the whole file and keeps nothing.

    Raises:
        ProblemError: not_an_image, too_many_pixels, too_many_frames; busy or deadline_exceeded when time ran out.
    """
    with _examined(source) as picture, faults.named():
        picture.decode()


@contextmanager
def converted(source: BinaryIO) -> Iterator[Converted]:
    """Decodes the file and encodes what is stored of it, in temporary files that last as long as the block.

    Raises:
        ProblemError: not_an_image, too_many_pixels, too_many_frames; busy or deadline_exceeded when time ran out.
        OSError: the temporary files cannot be written.
    """
    with ExitStack() as files:
        yield _convert(files, source)  # no pixels are held any more while the result is stored


def _convert(files: ExitStack, source: BinaryIO) -> Converted:
    with _examined(source) as picture:
        with faults.named():
            still = picture.still()
        kind, original = _encoded(files, picture.save)
        _, avatar = _encoded(files, lambda target: derivatives.save(derivatives.avatar(still), target))
        _, card = _encoded(files, lambda target: derivatives.save(derivatives.card(still), target))
        return Converted(kind, still.width, still.height, picture.animated, original, avatar, card)


@contextmanager
def _examined(source: BinaryIO) -> Iterator[_Picture]:
    """The file as a picture whose claims are acceptable, with its turn to be worked on held for the block."""
    source.seek(0)
    head = source.read(_HEAD)
    name = next((name for signature, name in _SIGNATURES.items() if head.startswith(signature)), None)
    if name is None:
        raise faults.not_an_image(_what_else(head))
    # What was cut off behind the claim of an impossible size is refused for that size.
    if name == "PNG" and head[12:16] == b"IHDR" and len(head) >= 24:
        _check_pixels(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
    with turns.in_process():
        with faults.named():
            picture = _open(name, source)
        pixels = picture.size[0] * picture.size[1] * picture.frames
        seconds = pixels * (SECONDS_A_PIXEL + picture.scans * SECONDS_A_PIXEL_OF_A_SCAN)
        alone = picture.memory > MOST_SHARED_MEMORY
        with turns.in_role(alone=alone, seconds=seconds):
            yield picture


def _open(name: str, source: BinaryIO) -> _Picture:
    picture: _Picture
    if name == "GIF":
        parsed = gif.parse(source, most_frames=limits.MAX_FRAMES)
        _check_pixels(parsed.width, parsed.height, len(parsed.frames))
        return Gif(parsed)
    if name == "WEBP":
        return _open_webp(source)
    if name == "PNG":
        png.check_chunks(source)
    picture = Still(name, source, scans=jpeg.scans(source) if name == "JPEG" else 1)
    _check_pixels(*picture.size)
    return picture


def _open_webp(source: BinaryIO) -> _Picture:
    header = webp.parse(source)
    if header is None:
        raise faults.not_an_image(f"The file is not a WebP image. Choose a {faults.ACCEPTED}.")
    _check_pixels(header.width, header.height, len(header.durations))
    if max(header.width, header.height) > webp.LARGEST_SIDE:
        raise faults.damaged()
    if header.durations and header.width * header.height > limits.MAX_WEBP_CANVAS:
        raise faults.too_large_a_canvas(header.width, header.height)
    return WebpAnimation(source, header) if len(header.durations) > 1 else Still("WEBP", source, header)


def _check_pixels(width: int, height: int, frames: int = 1) -> None:
    if width * height > limits.MAX_PIXELS:
        raise faults.too_many_pixels(width, height)
    if frames > limits.MAX_FRAMES:
        raise faults.too_many_frames()
    if width * height * frames > limits.MAX_ANIMATION_PIXELS:
        raise faults.too_many_animated_pixels(width, height, frames)


def _what_else(head: bytes) -> str:
    """Why a file that starts like this is not accepted, in words for the person who chose it."""
    if not head:
        return "The file is empty."
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml", b"<!doctype svg")) or (text.startswith(b"<!--") and b"<svg" in text):
        return f"SVG drawings are not accepted. Choose a {faults.ACCEPTED}."
    if head[4:8] == b"ftyp":
        return f"HEIC, AVIF and videos are not accepted. Choose a {faults.ACCEPTED}."
    if text.startswith(b"%pdf"):
        return f"PDF documents are not accepted. Choose a {faults.ACCEPTED}."
    if not any(byte < 9 for byte in head):
        return f"The file is a text and not an image. Choose a {faults.ACCEPTED}."
    return f"The file is not an image that can be read. Choose a {faults.ACCEPTED}."


def _encoded(files: ExitStack, save: Callable[[BinaryIO], _T]) -> tuple[_T, Encoded]:
    faults.check_deadline()
    temporary = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115 - `files` closes it
    file = cast(BinaryIO, files.enter_context(temporary))
    result = save(cast(BinaryIO, _Sink(file)))
    size = file.tell()
    file.seek(0)
    digest = hashlib.file_digest(cast(io.BytesIO, file), "sha256").hexdigest()
    file.seek(0)
    return result, Encoded(file, size, digest)


class _Sink:
    """A file as encoders see it: without a descriptor.

    To a descriptor Pillow writes by itself, and there it takes a write that a full disk cut short for a whole one.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.write, self.flush, self.seek, self.tell = file.write, file.flush, file.seek, file.tell
        self.truncate = file.truncate
