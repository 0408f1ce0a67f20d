"""Large pictures of every sort that people store, drawn on the spot and the same in every run."""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

TEXT = "The quick brown fox jumps over the lazy dog. 0123456789 (Il1|) — "


def _noise(width: int, height: int, seed: int) -> Image.Image:
    return Image.frombytes("L", (width, height), random.Random(seed).randbytes(width * height))  # noqa: S311


def _octaves(width: int, height: int, seed: int) -> Image.Image:
    """Clouds, leaves and stones: noise of every scale, in contrasts as cameras see them."""
    clouds = Image.new("L", (width, height), 128)
    for step, cell in enumerate((2, 4, 8, 16, 32, 64, 128, 256)):  # the last one weighs most
        size = (max(2, width // cell), max(2, height // cell))
        layer = _noise(*size, seed + step).resize((width, height), Image.Resampling.BICUBIC)
        clouds = Image.blend(clouds, layer, 0.42)
    return ImageOps.autocontrast(clouds, cutoff=1)


def landscape(width: int = 2400, height: int = 1600) -> Image.Image:
    """A photo: clouds of colour, with hard and soft edges in it."""
    image = Image.merge("RGB", [_octaves(width, height, seed) for seed in (10, 20, 30)])
    hills = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(hills)
    pick = random.Random(5)  # noqa: S311
    for _ in range(40):
        x, y, r = pick.randrange(width), pick.randrange(height), pick.randrange(20, width // 6)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=pick.choice((0, 90, 180, 255)))
    other = Image.merge("RGB", [_octaves(width, height, seed) for seed in (40, 50, 60)])
    return Image.composite(image, other, hills.filter(ImageFilter.GaussianBlur(1)))


def grainy() -> Image.Image:
    """A photo in bad light: as much grain as a small sensor gives."""
    image = landscape(1600, 1200)
    return Image.blend(image, Image.merge("RGB", [_noise(1600, 1200, seed) for seed in (1, 2, 3)]), 0.12)


def drawing() -> Image.Image:
    """Flat colours and thin lines."""
    image = Image.new("RGB", (1500, 1500), "#f4efe6")
    draw = ImageDraw.Draw(image)
    pick = random.Random(7)  # noqa: S311
    colours = ("#d1495b", "#edae49", "#00798c", "#30638e", "#003d5b", "white")
    for _ in range(120):
        x, y, size = pick.randrange(1500), pick.randrange(1500), pick.randrange(20, 260)
        draw.rounded_rectangle(
            (x, y, x + size, y + size), size // 5, pick.choice(colours), "black", pick.randrange(1, 6)
        )
        draw.line((x, y, pick.randrange(1500), pick.randrange(1500)), pick.choice(colours), pick.randrange(1, 5))
    return image


def text() -> Image.Image:
    """A picture of a screen, full of text."""
    image = Image.new("RGB", (1280, 960), "white")
    draw = ImageDraw.Draw(image)
    y = 10
    for size in (14, 18, 24, 32, 48):
        font = ImageFont.load_default(size)
        for _ in range(4):
            draw.text((12, y), TEXT * 4, "#222222" if size != 24 else "#0a58ca", font)
            y += round(size * 1.35)
    return image


def transparent() -> Image.Image:
    """A drawing that fades away towards its rim."""
    image = drawing().convert("RGBA")
    image.putalpha(Image.radial_gradient("L").resize(image.size).point(lambda value: max(0, 255 - value * 3 // 2)))
    return image


def grey() -> Image.Image:
    """A photo in black and white."""
    return landscape(1800, 1200).convert("L")


def palette() -> Image.Image:
    """A drawing of at most 256 colours."""
    return drawing().quantize(64)


def gradient() -> Image.Image:
    """A sky: hardly any detail, where steps would be seen."""
    red = Image.linear_gradient("L").resize((1920, 1080), Image.Resampling.BICUBIC)
    return Image.merge("RGB", (red.point(lambda value: value // 2), red.point(lambda value: 60 + value // 2), red))


def panorama() -> Image.Image:
    """Seven times as wide as high."""
    return landscape(4200, 600)


def small() -> Image.Image:
    """Smaller than a card, larger than an avatar."""
    return landscape(400, 300)


def tiny() -> Image.Image:
    """Smaller than an avatar."""
    return drawing().resize((48, 32), Image.Resampling.BOX)


SCENES: dict[str, Callable[[], Image.Image]] = {
    scene.__name__: scene
    for scene in (
        landscape, grainy, drawing, text, transparent, grey, palette, gradient, panorama, small, tiny,
    )
}  # fmt: skip
