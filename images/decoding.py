"""Whether a file is an image that we accept, and what is kept of it.

What a file is, only its decoding decides: names and headers of the upload play no part. The sizes that a file claims
are checked before a single pixel is decoded. What is kept is made anew from the pixels: orientation applied, colours in
sRGB, and nothing that is not the picture (EXIF with its places, XMP, IPTC, comments, texts, colour profiles, whatever
stood behind the end). A picture stays in its format; an animated PNG becomes its first frame.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast

from django.conf import settings
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin

from images import faults, gif, limits, webp
from internal.context import current_deadline
from internal.problems import ProblemError

# Pillow's own guards, for the whole process. Up to twice its limit it only warns; here that is an error, too.
Image.MAX_IMAGE_PIXELS = limits.MAX_PIXELS
ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.simplefilter("error", Image.DecompressionBombWarning)

AVATAR_SIDE = 256  # pixels; a square, covered by the middle of the picture
CARD_SIDE = 640  # pixels; the picture fits into this square, and is never scaled up
DERIVATIVE_OPTIONS = {"quality": 82, "method": 4}
WEBP_LOSSY_OPTIONS = {"quality": 90, "method": 2}
WEBP_ANIMATION_OPTIONS = {"quality": 75, "method": 0}  # a frame may not take longer: there may be 200 of them
WEBP_LOSSLESS_OPTIONS = {"lossless": True, "quality": 20, "method": 0}
JPEG_QUALITY = 92  # where the file's own quantization cannot be taken over

# One at a time in each process: the largest picture takes some 320 MB while it is turned, and a worker's other threads
# go on answering everything else meanwhile.
_slot = threading.BoundedSemaphore(1)

_HEAD = 512  # bytes that are looked at for a message that helps
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"RIFF": "WEBP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
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


@dataclass(frozen=True, slots=True)
class Kind:
    """A format that we accept: its media type and the extension of its stored names."""

    content_type: str
    extension: str


KINDS = {
    "PNG": Kind("image/png", "png"),
    "JPEG": Kind("image/jpeg", "jpg"),
    "WEBP": Kind("image/webp", "webp"),
    "GIF": Kind("image/gif", "gif"),
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

    kind: Kind
    animated: bool

    def decode(self) -> None:
        """Decodes every pixel of every frame."""

    def still(self) -> Image.Image:
        """The picture, or the first frame, upright, in sRGB."""

    def save(self, target: BinaryIO) -> None:
        """Writes the picture anew."""


def check(source: BinaryIO) -> None:
    """Decodes the whole file and keeps nothing.

    Raises:
        ProblemError: not_an_image, too_many_pixels, too_many_frames; busy or deadline_exceeded when time ran out.
    """
    with _examined(source) as picture, _decoding():
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
        with _decoding():
            still = picture.still()
        return Converted(
            kind=picture.kind,
            width=still.width,
            height=still.height,
            animated=picture.animated,
            original=_encoded(files, picture.save),
            avatar=_encoded(files, lambda target: _save_derivative(_covering(still), target)),
            card=_encoded(files, lambda target: _save_derivative(_contained(still), target)),
        )


@contextmanager
def _examined(source: BinaryIO) -> Iterator[_Picture]:
    """The file as a picture, with the process's turn to decode held for the block."""
    source.seek(0)
    head = source.read(_HEAD)
    name = next((name for signature, name in _SIGNATURES.items() if head.startswith(signature)), None)
    if name is None:
        raise faults.not_an_image(_what_else(head))
    # What was cut off behind the claim of an impossible size is refused for that size.
    if name == "PNG" and head[12:16] == b"IHDR" and len(head) >= 24:
        _check_pixels(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
    if not _slot.acquire(timeout=max(current_deadline().remaining(), 0)):
        raise faults.busy()
    try:
        with _decoding():
            picture = _open(name, source)
        yield picture
    finally:
        _slot.release()


def _open(name: str, source: BinaryIO) -> _Picture:
    if name == "GIF":
        return _Gif(gif.parse(source, most_frames=limits.MAX_FRAMES))
    container = webp.parse(source) if name == "WEBP" else None
    if container is not None:
        _check_pixels(container.width, container.height, len(container.durations))
        if max(container.width, container.height) > webp.LARGEST_SIDE:
            raise faults.damaged()
    elif name == "WEBP":
        raise faults.not_an_image(f"The file is not a WebP image. Choose a {faults.ACCEPTED}.")
    source.seek(0)
    image = Image.open(source, formats=(name,))
    _check_pixels(*image.size)
    if container is not None and len(container.durations) > 1:
        return _WebpAnimation(image, container)
    return _Still(name, image, lossless=container is not None and container.lossless)


def _check_pixels(width: int, height: int, frames: int = 1) -> None:
    if width * height > limits.MAX_PIXELS:
        raise faults.too_many_pixels(width, height)
    if frames > limits.MAX_FRAMES:
        raise faults.too_many_frames()
    if width * height * frames > limits.MAX_ANIMATION_PIXELS:
        raise faults.too_many_animated_pixels(width, height, frames)


def _check_deadline() -> None:
    if current_deadline().remaining() <= 0:
        raise faults.deadline_exceeded("The image took too long to read. Try again later, or choose a smaller one.")


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


@contextmanager
def _decoding() -> Iterator[None]:
    """Turns whatever decoding raises into the problem that it stands for.

    Pillow's parsers raise nearly any exception on damaged input. Only an OSError with a number is not about the file's
    content: the disk could not be read.
    """
    try:
        yield
    except ProblemError:
        raise
    except _BOMB:
        raise faults.too_many_pixels() from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise faults.damaged() from error
    except Exception as error:
        raise faults.damaged() from error


def _encoded(files: ExitStack, save: Callable[[BinaryIO], None]) -> Encoded:
    _check_deadline()
    temporary = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115 - `files` closes it
    file = cast(BinaryIO, files.enter_context(temporary))
    save(file)
    size = file.tell()
    file.seek(0)
    digest = hashlib.file_digest(cast(io.BytesIO, file), "sha256").hexdigest()
    file.seek(0)
    return Encoded(file, size, digest)


class _Still:
    """A picture of one frame."""

    animated = False

    def __init__(self, name: str, image: ImageFile.ImageFile, *, lossless: bool) -> None:
        self.kind = KINDS[name]
        self._name = name
        self._image: Image.Image = image
        self._options = _save_options(name, image, lossless=lossless)
        self._ready = False

    def decode(self) -> None:
        self._image.load()

    def still(self) -> Image.Image:
        if not self._ready:
            self._image.load()
            self._image = _clean(self._image)
            self._ready = True
        return self._image

    def save(self, target: BinaryIO) -> None:
        still = self.still()
        still.save(target, format=self._name, **self._options)
        target.seek(0, io.SEEK_END)


class _WebpAnimation:
    """A WebP of several frames. Only one of them is in memory at a time."""

    kind = KINDS["WEBP"]
    animated = True

    def __init__(self, image: ImageFile.ImageFile, header: webp.WebpHeader) -> None:
        self._image = image
        self._header = header

    def decode(self) -> None:
        for number in range(len(self._header.durations)):
            self._frame(number)

    def still(self) -> Image.Image:
        return self._frame(0)

    def save(self, target: BinaryIO) -> None:
        options = WEBP_LOSSLESS_OPTIONS if self._header.lossless else WEBP_ANIMATION_OPTIONS
        frames = _Frames(self._frame, len(self._header.durations))
        frames.save(
            target,
            format="WEBP",
            save_all=True,
            duration=list(self._header.durations),
            loop=self._header.loop,
            **options,
        )
        target.seek(0, io.SEEK_END)

    def _frame(self, number: int) -> Image.Image:
        with _decoding():
            _check_deadline()
            self._image.seek(number)
            self._image.load()
            return _clean(self._image.copy())


class _Gif:
    """A GIF of any number of frames."""

    kind = KINDS["GIF"]

    def __init__(self, parsed: gif.Gif) -> None:
        _check_pixels(parsed.width, parsed.height, len(parsed.frames))
        self._gif = parsed
        self.animated = len(parsed.frames) > 1

    def decode(self) -> None:
        for frame in self._gif.frames:
            _check_deadline()
            gif.indices(frame)

    def still(self) -> Image.Image:
        return gif.first_frame(self._gif)

    def save(self, target: BinaryIO) -> None:
        def indices(frame: gif.Frame) -> Image.Image:
            with _decoding():
                _check_deadline()
                return gif.indices(frame)

        gif.write(self._gif, target, indices=indices)


class _Frames(Image.Image):
    """Frames that are decoded when Pillow's encoder seeks to them; a list would hold all of them at once."""

    def __init__(self, frame: Callable[[int], Image.Image], count: int) -> None:
        super().__init__()
        self._frame = frame
        self._number = -1
        self.n_frames = count
        self.seek(0)

    def seek(self, frame: int) -> None:
        if frame != self._number:
            picture = self._frame(frame)
            self.im = picture.im
            self._mode = picture.mode
            self._size = picture.size
            self._number = frame

    def tell(self) -> int:
        return self._number


def _save_options(name: str, image: ImageFile.ImageFile, *, lossless: bool) -> dict[str, Any]:
    if name == "WEBP":
        return dict(WEBP_LOSSLESS_OPTIONS if lossless else WEBP_LOSSY_OPTIONS)
    if name == "PNG":
        # From here on the last tenth of compression would cost more seconds than a person waits.
        return {"compress_level": 6 if image.width * image.height < 10_000_000 else 4}
    # The same quantization again costs a JPEG least: neither size nor much of what is seen.
    jpeg = cast(JpegImagePlugin.JpegImageFile, image)
    tables = jpeg.quantization
    usable = image.mode in {"L", "RGB"} and set(tables) == set(range(len(tables)))
    if usable and tables and all(0 < step < 256 for table in tables.values() for step in table):
        return {"qtables": tables, "subsampling": JpegImagePlugin.get_sampling(jpeg)}
    return {"quality": JPEG_QUALITY}


def _clean(image: Image.Image) -> Image.Image:
    """The loaded picture upright, in sRGB with at most 8 bits a channel, and without anything else."""
    turn = _UPRIGHT.get(_orientation(image))
    profile, transparency = image.info.get("icc_profile"), image.info.get("transparency")
    if image.mode.startswith("I"):
        # Greys of 16 bits: browsers show 8, and Pillow itself would cut off everything above 255.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
        transparency = None
    image.info = {} if transparency is None else {"transparency": transparency}
    if profile:
        image = _in_srgb(image, profile)
    if image.mode == "CMYK":
        image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - a damaged note about the picture does not make the picture unusable
        return 1


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The picture with its colours in sRGB; as it is where the profile is none, or one for another kind of picture."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(source).startswith("sRGB"):
            return image
        if image.mode in {"P", "1"} or "transparency" in image.info:
            image = image.convert("RGBA" if image.has_transparency_data else "RGB" if image.mode == "P" else "L")
        if source.profile.xcolor_space.strip() != _PROFILE_OF_MODE[image.mode]:
            return image
        grey = image.mode in {"L", "LA"}
        alpha = image.getchannel("A") if image.mode in {"LA", "RGBA"} else None
        base = image if alpha is None else image.convert("L" if grey else "RGB")
        colours = ImageCms.profileToProfile(base, source, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image
    assert colours is not None
    if grey:
        colours = colours.convert("L")
    if alpha is not None:
        colours.putalpha(alpha)
    colours.info = {}
    return colours


def _resizable(image: Image.Image) -> Image.Image:
    if image.mode in {"P", "1"} or "transparency" in image.info:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def _covering(image: Image.Image) -> Image.Image:
    """The middle square of the picture, at the size of an avatar."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    size = (AVATAR_SIDE, AVATAR_SIDE)
    box = (left, top, left + side, top + side)
    return _resizable(image).resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _contained(image: Image.Image) -> Image.Image:
    """The whole picture, at most as large as a card."""
    scale = min(1, CARD_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if size == image.size:
        return _resizable(image)
    return _resizable(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _save_derivative(image: Image.Image, target: BinaryIO) -> None:
    image.save(target, format="WEBP", **DERIVATIVE_OPTIONS)
