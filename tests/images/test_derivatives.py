"""Avatars and cards are sharp and small: compared with what no encoder has touched."""

from __future__ import annotations

import io
from functools import cache

import pytest
from PIL import Image, ImageFilter

from images import derivatives
from images.derivatives import AVATAR, CARD, Kind
from tests.images.scenes import SCENES
from tests.images.ssim import ssim

# How like the reference: 0.95 is hardly to be told from it. Lines and letters show each loss of sharpness (half a pixel
# of blur costs 0.02 to 0.03), so they have to be nearer. Grain costs most to keep, and is missed least. WebP of quality
# 75 would fail all three.
ALIKE, ALIKE_WITH_EDGES, ALIKE_WITH_GRAIN = 0.96, 0.988, 0.925
LIKENESS = {
    "drawing": ALIKE_WITH_EDGES,
    "palette": ALIKE_WITH_EDGES,
    "transparent": ALIKE_WITH_EDGES,
    "text": ALIKE_WITH_EDGES,
    "grainy": ALIKE_WITH_GRAIN,
}
LARGEST = {AVATAR: 24_000, CARD: 110_000}  # bytes, of any scene
USUAL = {AVATAR: 12_000, CARD: 40_000}  # bytes, on average
KINDS = pytest.mark.parametrize("kind", [AVATAR, CARD], ids=["avatar", "card"])


@cache
def scene(name: str) -> Image.Image:
    return SCENES[name]()


def reference(image: Image.Image, kind: Kind) -> Image.Image:
    """What a person should see: Lanczos from the picture itself, in one step, kept without loss."""
    if image.mode == "P":
        image = image.convert("RGB")
    if kind is AVATAR:
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        return image.resize((256, 256), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    scale = min(1, 640 / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def encoded(image: Image.Image, kind: Kind) -> bytes:
    target = io.BytesIO()
    derivatives.save(kind.made(image), target)
    return target.getvalue()


@KINDS
@pytest.mark.parametrize("name", SCENES)
def test_it_looks_like_the_reference_and_is_small(name: str, kind: Kind) -> None:
    data = encoded(scene(name), kind)

    with Image.open(io.BytesIO(data), formats=("WEBP",)) as made:
        assert made.size == kind.size(scene(name).size)
        assert ssim(made, reference(scene(name), kind)) >= LIKENESS.get(name, ALIKE)
    assert len(data) <= LARGEST[kind]


@KINDS
def test_they_are_small_on_average(kind: Kind) -> None:
    sizes = [len(encoded(scene(name), kind)) for name in SCENES]

    assert sum(sizes) / len(sizes) <= USUAL[kind]


@KINDS
def test_transparency_stays(kind: Kind) -> None:
    with Image.open(io.BytesIO(encoded(scene("transparent"), kind))) as made:
        assert made.mode == "RGBA"
        assert made.getchannel("A").getextrema() != (255, 255)


@pytest.mark.parametrize(
    ("size", "card"),
    [
        ((640, 640), (640, 640)),
        ((641, 10), (640, 10)),
        ((4000, 3000), (640, 480)),
        ((3000, 4000), (480, 640)),
        ((40, 24), (40, 24)),
        ((1, 1), (1, 1)),
        ((5000, 1), (640, 1)),
        ((1, 40_000), (1, 640)),
    ],
)
def test_an_avatar_is_a_square_and_a_card_keeps_proportions_and_never_grows(
    size: tuple[int, int], card: tuple[int, int]
) -> None:
    image = Image.new("RGB", size, "red")

    assert derivatives.avatar(image).size == AVATAR.size(size) == (256, 256)
    assert derivatives.card(image).size == CARD.size(size) == card


def test_an_avatar_is_the_middle_of_the_picture() -> None:
    image = Image.new("RGB", (900, 300), "red")
    image.paste("blue", (300, 0, 600, 300))

    assert derivatives.avatar(image).crop((2, 0, 254, 256)).getcolors() == [(252 * 256, (0, 0, 255))]


def test_the_index_knows_sharp_from_blurred_and_clean_from_damaged() -> None:
    image = reference(scene("drawing"), CARD)
    blurred = image.filter(ImageFilter.GaussianBlur(0.5))
    worse = image.filter(ImageFilter.GaussianBlur(1))
    blocky = image.reduce(4).resize(image.size, Image.Resampling.NEAREST)

    assert ssim(image, image) == pytest.approx(1)
    assert ssim(image, worse) < 0.9 < ssim(image, blurred) < 0.985
    assert ssim(image, blocky) < 0.8
    assert ssim(image, image.rotate(180)) < 0.5


def test_the_index_sees_what_is_transparent() -> None:
    image = scene("transparent")
    opaque = image.copy()
    opaque.putalpha(255)

    assert ssim(image, opaque) < 0.7
