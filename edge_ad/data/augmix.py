"""AugMix (Hendrycks et al., ICLR 2020) with the operations of GNL and FiCo: views of a photo in another style.

Chains of operations that shift colours, tones and edges are averaged, and the average is mixed with the photo.
Brightness, contrast, blur, noise and geometry are left out on purpose: the authors test on those. Operations are
Pillow's, on BGR.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "OPERATIONS",
    "augmix",
    "auto_contrast",
    "colour",
    "draw_level",
    "equalize",
    "posterize",
    "sharpness",
    "solarize",
]

Image = NDArray[np.uint8]

_MOST_SEVERE = 3
_CHAINS = 3
_LONGEST_CHAIN = 3
# A pixel keeps 5/13 of itself: Pillow's smoothing, which leaves the outermost pixels as they are.
_SMOOTHING = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def draw_level(severity: int, rng: np.random.Generator) -> float:
    """Strength of an operation, even between 0.1 and the severity, which may be 0."""
    return 0.1 + (severity - 0.1) * float(rng.random())


def auto_contrast(image: Image, level: float = 0.0) -> Image:
    """Stretch each channel over the whole range."""
    return np.stack([_stretched(image[..., channel]) for channel in range(3)], axis=-1)


def equalize(image: Image, level: float = 0.0) -> Image:
    """Give every level about the same number of pixels, in each channel."""
    return np.stack([_equalized(image[..., channel]) for channel in range(3)], axis=-1)


def posterize(image: Image, level: float) -> Image:
    """Keep the upper ``4 - int(0.4 · level)`` bits."""
    dropped = 4 + int(level * 4 / 10)
    return np.asarray(image >> dropped << dropped, np.uint8)


def solarize(image: Image, level: float) -> Image:
    """Invert what is as bright as ``256 - int(25.6 · level)`` or brighter."""
    return np.where(image >= 256 - int(level * 256 / 10), 255 - image, image).astype(np.uint8)


def colour(image: Image, level: float) -> Image:
    """``0.18 · level + 0.1`` of the way from grey to the photo: always greyer."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
    return _blended(np.broadcast_to(grey, image.shape), image, _factor(level))


def sharpness(image: Image, level: float) -> Image:
    """``0.18 · level + 0.1`` of the way from the smoothed photo to itself: always softer."""
    smooth = image.copy()
    filtered = cv2.filter2D(image, cv2.CV_32F, _SMOOTHING)[1:-1, 1:-1]
    smooth[1:-1, 1:-1] = np.floor(np.clip(filtered + 0.5, 0, 255))
    return _blended(smooth, image, _factor(level))


OPERATIONS = MappingProxyType[str, Callable[[Image, float], Image]](
    {
        "auto-contrast": auto_contrast,
        "equalize": equalize,
        "posterize": posterize,
        "solarize": solarize,
        "colour": colour,
        "sharpness": sharpness,
    }
)


def augmix(image: Image, rng: np.random.Generator) -> NDArray[np.float32]:
    """One view: ``(1 − m)·I + m·Σ wᵢ·chainᵢ(I)``.

    The severity, 0 to 3, is drawn once per photo, and so is the length of the chains: the authors' code keeps that of
    the first one. Weights are Dirichlet(1, 1, 1), the share m is Beta(1, 1).

    Args:
        image: uint8 BGR (H, W, 3).
        rng: Everything follows from it.

    Returns:
        float32 BGR (H, W, 3) in [0, 255].
    """
    severity, length = int(rng.integers(_MOST_SEVERE + 1)), int(rng.integers(1, _LONGEST_CHAIN + 1))
    weights, share = rng.dirichlet(np.ones(_CHAINS)), float(rng.beta(1.0, 1.0))
    mixed = np.zeros(image.shape, np.float32)
    for weight in weights:
        chained = image
        for index in rng.integers(len(OPERATIONS), size=length):
            operation = tuple(OPERATIONS.values())[int(index)]
            chained = operation(chained, draw_level(severity, rng))
        mixed += np.float32(weight) * chained
    return np.asarray((1 - share) * image + share * mixed, np.float32)


def _factor(level: float) -> float:
    return level * 1.8 / 10 + 0.1


def _blended(start: NDArray[np.uint8], image: Image, factor: float) -> Image:
    """Pillow's blend, which cuts off what is behind the comma."""
    first = start.astype(np.float32)
    return np.asarray(np.clip(first + np.float32(factor) * (image - first), 0, 255), np.uint8)


def _stretched(channel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    low, high = int(channel.min()), int(channel.max())
    if high <= low:
        return channel
    scale = 255.0 / (high - low)
    table = (np.arange(256) * scale - low * scale).astype(np.int64)
    return np.asarray(np.clip(table, 0, 255).astype(np.uint8)[channel])


def _equalized(channel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    counts = np.bincount(channel.ravel(), minlength=256)
    used = counts[counts > 0]
    step = int(used.sum() - used[-1]) // 255
    if len(used) <= 1 or not step:
        return channel
    below = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.asarray(np.minimum((step // 2 + below) // step, 255).astype(np.uint8)[channel])
