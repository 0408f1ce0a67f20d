"""Pictures of several frames, of which only one is in memory at a time."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

from PIL import Image, ImageFile

from images import colours, faults, gif, webp
from images.kinds import KINDS, Kind
from images.stills import WEBP_LOSSLESS_OPTIONS

WEBP_ANIMATION_OPTIONS = {"quality": 75, "method": 0}  # a frame may not take longer: there may be 200 of them
_WEBP_BYTES_A_PIXEL = 60  # of the canvas, at the height of the work
_GIF_BYTES_A_PIXEL = 10


class WebpAnimation:
    """An animated WebP."""

    kind = KINDS["WEBP"]
    animated = True
    scans = 1

    def __init__(self, source: BinaryIO, header: webp.WebpHeader) -> None:
        self._source = source
        self._header = header
        self._opened: ImageFile.ImageFile | None = None
        self.size = header.width, header.height
        self.frames = len(header.durations)

    @property
    def memory(self) -> int:
        """About how many bytes the work takes at its height."""
        return self.size[0] * self.size[1] * _WEBP_BYTES_A_PIXEL

    def decode(self) -> None:
        """Decodes every pixel of every frame."""
        for number in range(len(self._header.durations)):
            self._frame(number)

    def still(self) -> Image.Image:
        """The first frame, upright, in sRGB."""
        return self._frame(0)

    def save(self, target: BinaryIO) -> Kind:
        """Writes the animation anew, and says as what."""
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
        return self.kind

    def _frame(self, number: int) -> Image.Image:
        with faults.named():
            faults.check_deadline()
            if self._opened is None:
                self._source.seek(0)
                self._opened = Image.open(self._source, formats=("WEBP",))
            self._opened.seek(number)
            self._opened.load()
            return colours.cleaned(self._opened.copy())


class Gif:
    """A GIF of any number of frames."""

    kind = KINDS["GIF"]
    scans = 1

    def __init__(self, parsed: gif.Gif) -> None:
        self._gif = parsed
        self.frames = len(parsed.frames)
        self.animated = self.frames > 1
        self.size = parsed.width, parsed.height

    @property
    def memory(self) -> int:
        """About how many bytes the work takes at its height."""
        return self.size[0] * self.size[1] * _GIF_BYTES_A_PIXEL

    def decode(self) -> None:
        """Decodes every pixel of every frame."""
        for frame in self._gif.frames:
            faults.check_deadline()
            gif.indices(frame)

    def still(self) -> Image.Image:
        """What is seen before the animation begins."""
        return gif.first_frame(self._gif)

    def save(self, target: BinaryIO) -> Kind:
        """Writes the picture anew, and says as what."""

        def indices(frame: gif.Frame) -> Image.Image:
            with faults.named():
                faults.check_deadline()
                return gif.indices(frame)

        gif.write(self._gif, target, indices=indices)
        return self.kind


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
