"""The largest pictures that are accepted, of each kind that costs memory in its own way, each under 10 MB."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from images import limits
from tests.images import pictures
from tests.images.pictures import animated, saved

WIDE, HIGH = 8000, 5000
FRAMES = 200


def noise(width: int, height: int, mode: str = "L") -> Image.Image:
    """Noise, which no encoder makes small."""
    bands = [Image.effect_noise((width, height), 90) for _ in mode]
    return bands[0] if mode == "L" else Image.merge(mode, bands)


def soft(mode: str, grain: int, size: tuple[int, int] = (WIDE, HIGH)) -> Image.Image:
    """Noise scaled up smoothly, as a photograph out of focus; grains of that many pixels."""
    return noise(size[0] // grain, size[1] // grain, mode).resize(size, Image.Resampling.BICUBIC)


def glassy(grain: int, size: tuple[int, int]) -> Image.Image:
    """The same, of one transparency."""
    picture = soft("RGB", grain, size)
    picture.putalpha(200)
    return picture


def hard(mode: str, grain: int, size: tuple[int, int] = (WIDE, HIGH)) -> Image.Image:
    """Noise scaled up as squares."""
    return noise(size[0] // grain, size[1] // grain, mode).resize(size, Image.Resampling.NEAREST)


def png() -> bytes:
    """Turned, transparent, and with colours that have to be converted."""
    return saved(
        hard("RGBA", 8), "PNG", compress_level=1, exif=pictures.exif(6), icc_profile=pictures.swapped_profile()
    )


def cmyk_jpeg() -> bytes:
    """Progressive: all coefficients are in memory before the first pixel is there."""
    picture = soft("RGB", 8).convert("CMYK")
    return saved(picture, "JPEG", quality=20, subsampling=0, progressive=True, exif=pictures.exif(6))


def rgb_jpeg() -> bytes:
    return saved(soft("RGB", 8), "JPEG", quality=40, subsampling=0, progressive=True, exif=pictures.exif(5))


def lossy_webp() -> bytes:
    return saved(soft("RGB", 8), "WEBP", quality=60, method=0)


def lossy_webp_with_alpha() -> bytes:
    picture = soft("RGB", 8)
    picture.putalpha(Image.radial_gradient("L").resize(picture.size))
    return saved(picture, "WEBP", quality=50, method=0)


def lossless_webp() -> bytes:
    return saved(hard("RGB", 6), "WEBP", lossless=True, quality=0, method=1)


def lossless_webp_with_alpha() -> bytes:
    return saved(hard("RGBA", 7), "WEBP", lossless=True, quality=0, method=1)


def largest_exact_webp() -> bytes:
    """The largest that is stored as a WebP again."""
    return saved(hard("RGBA", 5, (4000, 3000)), "WEBP", lossless=True, quality=0, method=1)


def gif() -> bytes:
    return saved(hard("L", 16), "GIF")


def gif_of_two_frames() -> bytes:
    return animated("GIF", [hard("L", 40) for _ in range(2)], duration=100)


def gif_of_most_frames() -> bytes:
    return animated("GIF", [hard("L", 32, (1000, 500)) for _ in range(FRAMES)], duration=50)


def webp_of_most_frames() -> bytes:
    frames = [glassy(40, (1000, 500)) for _ in range(FRAMES)]
    return animated("WEBP", frames, duration=50, quality=20, method=0)


def lossless_webp_of_most_frames() -> bytes:
    frames = [hard("RGBA", 10, (1000, 500)) for _ in range(FRAMES)]
    return animated("WEBP", frames, duration=50, lossless=True, quality=0, method=1)


def webp_of_the_largest_canvas() -> bytes:
    size = (3840, 2160)
    frames = [glassy(64, size) for _ in range(limits.MAX_ANIMATION_PIXELS // (3840 * 2160))]
    return animated("WEBP", frames, duration=50, quality=20, method=0)


def lossless_webp_of_the_largest_canvas() -> bytes:
    size = (3840, 2160)
    frames = [hard("RGBA", 10, size) for _ in range(limits.MAX_ANIMATION_PIXELS // (3840 * 2160))]
    return animated("WEBP", frames, duration=50, lossless=True, quality=0, method=1)


LARGEST: tuple[Callable[[], bytes], ...] = (
    png,
    cmyk_jpeg,
    rgb_jpeg,
    lossy_webp,
    lossy_webp_with_alpha,
    lossless_webp,
    lossless_webp_with_alpha,
    largest_exact_webp,
    gif,
    gif_of_two_frames,
    gif_of_most_frames,
    webp_of_most_frames,
    lossless_webp_of_most_frames,
    webp_of_the_largest_canvas,
    lossless_webp_of_the_largest_canvas,
)
