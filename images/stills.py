"""Pictures of one frame: decoded, and encoded in the format that they came in wherever that fits into memory."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

from PIL import Image, ImageFile, JpegImagePlugin

from images import colours, faults, libwebp, webp
from images.kinds import KINDS, Kind

WEBP_LOSSY_OPTIONS = {"quality": 90, "method": 2}
WEBP_LOSSLESS_OPTIONS = {"lossless": True, "quality": 20, "method": 0}
JPEG_QUALITY = 92  # where there is no quantization of the file's own to go by

# The table of brightness of every JPEG encoder that scales one by a quality from 1 to 100 (ITU-T T.81, table K.1).
_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)

# To encode a picture exactly, or its transparency, libwebp needs some 30 bytes a pixel. What is larger becomes a PNG.
MOST_EXACT_WEBP_PIXELS = 12_000_000
SUBSTITUTE_LEVEL = 1  # of compression, for such a PNG: the noise of a lossy picture would cost 18 s at a higher one
_BYTES_A_PIXEL = {"PNG": 12, "JPEG": 12, "WEBP": 32}  # at the height of the work


class Still:
    """A picture that is opened by Pillow or, if it is a WebP, has only been measured."""

    animated = False
    frames = 1

    def __init__(self, name: str, source: BinaryIO, header: webp.WebpHeader | None = None, *, scans: int = 1) -> None:
        self.kind = KINDS[name]
        self.scans = scans
        self._name = name
        self._source = source
        self._header = header
        self._image: Image.Image | None = None
        self._options: dict[str, Any] = {}
        if header is None:
            self._image = self._opened()
            self.size = self._image.size
        else:
            self.size = header.width, header.height

    @property
    def memory(self) -> int:
        """About how many bytes the work takes at its height."""
        return self.size[0] * self.size[1] * _BYTES_A_PIXEL[self._name]

    def decode(self) -> None:
        """Decodes every pixel."""
        self._loaded()

    def still(self) -> Image.Image:
        """The picture, upright, in sRGB."""
        image = self._loaded()
        if not self._options:
            self._options = _save_options(self._name, image, self._header)
            self._image = image = colours.cleaned(image)
        return image

    def save(self, target: BinaryIO) -> Kind:
        """Writes the picture anew, and says as what."""
        still = self.still()
        name, options = self._name, self._options
        exact = name == "WEBP" and (options is WEBP_LOSSLESS_OPTIONS or still.mode == "RGBA")
        if exact and still.width * still.height > MOST_EXACT_WEBP_PIXELS:
            name, options = "PNG", {"compress_level": SUBSTITUTE_LEVEL}
        try:
            still.save(target, format=name, **options)
        except ValueError:
            if name != "WEBP":
                raise
            # A lossy WebP has 512 KB for how its blocks are coded; those of a very large picture may need more.
            target.seek(0)
            target.truncate()
            name = "PNG" if still.mode == "RGBA" else "JPEG"
            still.save(
                target,
                format=name,
                **({"compress_level": SUBSTITUTE_LEVEL} if name == "PNG" else {"quality": JPEG_QUALITY}),
            )
        target.seek(0, io.SEEK_END)
        return KINDS[name]

    def _opened(self) -> ImageFile.ImageFile:
        self._source.seek(0)
        return Image.open(self._source, formats=(self._name,))

    def _loaded(self) -> Image.Image:
        if self._image is None:
            self._image = self._decoded_webp()
        self._image.load()
        if self._image.mode == "P" and not (self._image.palette and self._image.palette.palette):
            raise faults.damaged()  # colours of a palette that is not there
        return self._image

    def _decoded_webp(self) -> Image.Image:
        assert self._header is not None
        self._source.seek(0)
        if self._header.durations:  # a frame with a place on a canvas
            return self._opened()
        image = libwebp.decoded(self._source.read(), self.size, transparent=self._header.transparent)
        if image is None:
            return self._opened()
        if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
            image = image.convert("RGB")
        image.info.update(webp.notes(self._source))
        return image


def _save_options(name: str, image: Image.Image, header: webp.WebpHeader | None) -> dict[str, Any]:
    if header is not None:
        return WEBP_LOSSLESS_OPTIONS if header.lossless else WEBP_LOSSY_OPTIONS
    if name == "PNG":
        return _png_options(image)
    jpeg = cast(JpegImagePlugin.JpegImageFile, image)
    if image.mode in {"L", "RGB"} and 0 in jpeg.quantization:
        return {"quality": _quality(jpeg.quantization[0]), "subsampling": JpegImagePlugin.get_sampling(jpeg)}
    return {"quality": JPEG_QUALITY}


def _quality(table: list[int]) -> int:
    """The lowest quality that quantizes at least as finely as that table.

    Quantization like the file's own costs a JPEG least. But the table itself is not taken over: it is 64 bytes of the
    uploader's choice, and what could be written there would be published with the picture.
    """
    return next((quality for quality, total in enumerate(_TOTALS, start=1) if total <= sum(table)), 100)


def _total(quality: int) -> int:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(max((step * scale + 50) // 100, 1), 255) for step in _LUMINANCE)


_TOTALS = [_total(quality) for quality in range(1, 101)]


def _png_options(image: Image.Image) -> dict[str, Any]:
    # From here on the last tenth of compression would cost more seconds than a person waits.
    return {"compress_level": 6 if image.width * image.height < 10_000_000 else 4}
