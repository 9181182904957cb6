"""Four of the corruptions of ImageNet-C (Hendrycks and Dietterich, 2019), at their five severities.

Intensities are those published for images of 224 to 256 pixels; blur radii are in pixels whatever the size.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError

__all__ = ["CORRUPTIONS", "SEVERITIES", "corrupt"]

SEVERITIES = (1, 2, 3, 4, 5)
_BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
_CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
_DEFOCUS_RADIUS = (3, 4, 6, 8, 10)
_DEFOCUS_SMOOTHING = (0.1, 0.5, 0.5, 0.5, 0.5)
_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)

Unit = NDArray[np.float32]


def corrupt(images: NDArray[np.uint8], name: str, severity: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Corrupt images.

    Args:
        images: uint8 (N, h, w, 3), BGR. Not changed.
        name: A name of `CORRUPTIONS`.
        severity: 1 (slight) to 5 (strong).
        seed: With the index of an image, determines its noise.

    Returns:
        uint8 (N, h, w, 3).

    Raises:
        UsageError: An unknown name or severity, or images of wrong dtype or shape.
    """
    if name not in CORRUPTIONS:
        raise UsageError(f"Unknown corruption: {name}.", f"Choose from: {', '.join(CORRUPTIONS)}.")
    if severity not in SEVERITIES:
        raise UsageError(f"Severity must be 1 to 5, not {severity}.")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise UsageError(f"Images must be uint8 (N, h, w, 3), not {images.dtype} {images.shape}.")
    corrupted = np.empty_like(images)
    for index, image in enumerate(images):
        unit = image.astype(np.float32) / np.float32(255.0)
        changed = CORRUPTIONS[name](unit, severity, np.random.default_rng([seed, index]))
        corrupted[index] = np.rint(np.clip(changed, 0.0, 1.0) * np.float32(255.0)).astype(np.uint8)
    return corrupted


def _brightness(image: Unit, severity: int, rng: np.random.Generator) -> Unit:
    # The value of HSV is raised; with hue and saturation kept, all channels scale with it, and black turns grey.
    value = image.max(axis=2, keepdims=True)
    raised = np.minimum(value + np.float32(_BRIGHTNESS[severity - 1]), 1.0)
    return np.where(value > 0, image * raised / np.maximum(value, np.float32(1e-6)), raised).astype(np.float32)


def _contrast(image: Unit, severity: int, rng: np.random.Generator) -> Unit:
    mean = image.mean(axis=(0, 1), keepdims=True)
    return np.asarray((image - mean) * np.float32(_CONTRAST[severity - 1]) + mean, np.float32)


def _defocus_blur(image: Unit, severity: int, rng: np.random.Generator) -> Unit:
    radius = _DEFOCUS_RADIUS[severity - 1]
    extent = max(8, radius)
    y, x = np.mgrid[-extent : extent + 1, -extent : extent + 1]
    disc = (x * x + y * y <= radius * radius).astype(np.float32)
    side = 3 if radius <= 8 else 5
    kernel = cv2.GaussianBlur(disc / disc.sum(), (side, side), _DEFOCUS_SMOOTHING[severity - 1])
    return np.asarray(cv2.filter2D(image, -1, kernel), np.float32)


def _gaussian_noise(image: Unit, severity: int, rng: np.random.Generator) -> Unit:
    noise = rng.standard_normal(image.shape, np.float32)
    return np.asarray(image + noise * np.float32(_NOISE[severity - 1]), np.float32)


CORRUPTIONS = MappingProxyType[str, Callable[[Unit, int, np.random.Generator], Unit]](
    {
        "brightness": _brightness,
        "contrast": _contrast,
        "defocus_blur": _defocus_blur,
        "gaussian_noise": _gaussian_noise,
    }
)
