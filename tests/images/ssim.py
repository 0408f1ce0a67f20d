"""How alike two pictures look: the structural similarity index (Wang et al., 2004), reckoned with Pillow alone."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageMath

_WINDOW = 8  # pixels, square; windows overlap by half
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_GROUNDS = ("white", "black")


def ssim(first: Image.Image, second: Image.Image) -> float:
    """The mean index of luminance: 1 for the same picture, 0.95 for hardly a difference to be seen.

    What is transparent is compared on white and on black, and the worse of both counts.
    """
    assert first.size == second.size, f"{first.size} is not {second.size}"
    return min(_mean_index(_luminance(first, ground), _luminance(second, ground)) for ground in _GROUNDS)


def _luminance(image: Image.Image, ground: str) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("L").convert("F")


def _mean_index(x: Image.Image, y: Image.Image) -> float:
    products = {"x": x, "y": y, "xx": _product(x, x), "yy": _product(y, y), "xy": _product(x, y)}
    indices: list[float] = []
    width, height = x.size
    for left in (0, _WINDOW // 2):
        for top in (0, _WINDOW // 2):
            right = left + max((width - left) // _WINDOW, 1) * _WINDOW
            bottom = top + max((height - top) // _WINDOW, 1) * _WINDOW
            box = (left, top, min(right, width), min(bottom, height))
            if box[2] > left and box[3] > top:
                means = {name: image.crop(box).reduce(_WINDOW) for name, image in products.items()}
                indices += ImageMath.lambda_eval(_index, **means).get_flattened_data()
    return sum(indices) / len(indices)


def _product(x: Image.Image, y: Image.Image) -> Image.Image:
    return ImageMath.lambda_eval(lambda given: given["x"] * given["y"], x=x, y=y)


def _index(mean: dict[str, Any]) -> Any:
    """Images are reckoned with like numbers here."""
    x, y = mean["x"], mean["y"]
    x_variance, y_variance, covariance = mean["xx"] - x * x, mean["yy"] - y * y, mean["xy"] - x * y
    alike_in_light = (x * y * 2 + _C1) / (x * x + y * y + _C1)
    return alike_in_light * (covariance * 2 + _C2) / (x_variance + y_variance + _C2)
