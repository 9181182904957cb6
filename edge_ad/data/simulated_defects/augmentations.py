"""The seven augmentations that make a texture look unlike its photograph (DRAEM, after RandAugment).

Each takes uint8 BGR (h, w, 3) and gives the same; strengths are drawn from the generator.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["AUGMENTATIONS", "augment"]

Image = NDArray[np.uint8]

# A pixel keeps 5/13 of itself: the 3×3 smoothing that a sharpness of zero stands for in image libraries.
_SMOOTHING = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def _posterize(image: Image, rng: np.random.Generator) -> Image:
    """Keep the upper one to four bits."""
    dropped = 8 - int(rng.integers(1, 5))
    return np.asarray(image >> dropped << dropped, np.uint8)


def _sharpness(image: Image, rng: np.random.Generator) -> Image:
    """Half to all of the way to the smoothed image, or one to three times as far away from it."""
    factor = float(rng.uniform(0.0, 0.5) if rng.random() < 0.5 else rng.uniform(2.0, 4.0))
    smooth = cv2.filter2D(image, cv2.CV_32F, _SMOOTHING)
    return _rounded(smooth + np.float32(factor) * (image.astype(np.float32) - smooth))


def _solarize(image: Image, rng: np.random.Generator) -> Image:
    """Invert what is brighter than a level between 32 and 128."""
    return np.where(image >= int(rng.integers(32, 129)), 255 - image, image).astype(np.uint8)


def _equalize(image: Image, rng: np.random.Generator) -> Image:
    """Give every level about the same number of pixels, in each channel."""
    return np.stack([cv2.equalizeHist(np.ascontiguousarray(image[..., channel])) for channel in range(3)], axis=-1)


def _brightness(image: Image, rng: np.random.Generator) -> Image:
    """Multiply by 0.8 to 1.2 and move by 10 to 50 levels."""
    shift = float(rng.uniform(10.0, 50.0)) * float(rng.choice([-1.0, 1.0]))
    return _rounded(image.astype(np.float32) * np.float32(rng.uniform(0.8, 1.2)) + np.float32(shift))


def _colour(image: Image, rng: np.random.Generator) -> Image:
    """Turn the hue by 20 to 180 degrees either way and move the saturation by up to 50 levels."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + int(rng.integers(10, 171))) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] + int(rng.integers(-50, 51)), 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR), np.uint8)


def _auto_contrast(image: Image, rng: np.random.Generator) -> Image:
    """Stretch each channel over the whole range, but for up to a tenth of its pixels at either end."""
    cut = float(rng.uniform(0.0, 0.1))
    return np.stack([_stretched(image[..., channel], cut) for channel in range(3)], axis=-1)


AUGMENTATIONS = MappingProxyType[str, Callable[[Image, np.random.Generator], Image]](
    {
        "posterize": _posterize,
        "sharpness": _sharpness,
        "solarize": _solarize,
        "equalize": _equalize,
        "brightness": _brightness,
        "colour": _colour,
        "auto-contrast": _auto_contrast,
    }
)


def augment(image: Image, rng: np.random.Generator, *, count: int = 3) -> Image:
    """Apply different augmentations, drawn at random, one after the other.

    Args:
        image: uint8 (h, w, 3), BGR. Not changed.
        rng: Draws which, and how strong.
        count: How many, at most seven.

    Returns:
        uint8 (h, w, 3).
    """
    names = tuple(AUGMENTATIONS)
    for index in rng.choice(len(names), size=count, replace=False):
        image = AUGMENTATIONS[names[int(index)]](image, rng)
    return image


def _stretched(channel: NDArray[np.uint8], cut: float) -> NDArray[np.uint8]:
    share = np.cumsum(np.bincount(channel.ravel(), minlength=256)) / channel.size
    low, high = np.searchsorted(share, [cut, 1.0 - cut], side="right").clip(0, 255)
    table = (np.arange(256, dtype=np.float32) - np.float32(low)) * np.float32(255.0 / max(int(high - low), 1))
    return _rounded(table)[channel]


def _rounded(pixels: NDArray[np.float32]) -> Image:
    return np.asarray(np.rint(np.clip(pixels, 0.0, 255.0)), np.uint8)
