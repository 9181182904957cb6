"""Corruptions of ImageNet-C (Hendrycks & Dietterich, 2019): light, haze, focus and noise in five steps."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError

__all__ = ["CORRUPTIONS", "SEVERITIES", "brightness", "contrast", "corrupt", "defocus_blur", "gaussian_noise"]

SEVERITIES = (1, 2, 3, 4, 5)

# The published constants of the 224-pixel images; they are not scaled with the image.
_BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
_CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
_DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)


def brightness(image: NDArray[np.uint8], severity: int) -> NDArray[np.uint8]:
    """Overexposure: value (the maximum of B, G and R) plus 0.1 to 0.5 of full scale, with hue and saturation kept.

    Args:
        image: uint8 (H, W, 3) BGR.
        severity: 1 to 5.

    Returns:
        uint8 (H, W, 3).

    Raises:
        UsageError: Another dtype or shape, or a severity out of range.
    """
    pixels = _checked(image, severity)
    value = pixels.max(axis=2, keepdims=True)
    raised = np.minimum(value + np.float32(_BRIGHTNESS[severity - 1]), 1.0)
    # With hue and saturation fixed, all channels are proportional to value; black has no hue and becomes grey.
    scaled = pixels * (raised / np.maximum(value, 1e-6))
    return _rounded(np.where(value > 0, scaled, raised))


def contrast(image: NDArray[np.uint8], severity: int) -> NDArray[np.uint8]:
    """Haze: the distance of each channel from its mean shrinks to 0.4 to 0.05.

    Args:
        image: uint8 (H, W, 3) BGR.
        severity: 1 to 5.

    Returns:
        uint8 (H, W, 3).

    Raises:
        UsageError: Another dtype or shape, or a severity out of range.
    """
    pixels = _checked(image, severity)
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    return _rounded((pixels - mean) * np.float32(_CONTRAST[severity - 1]) + mean)


def defocus_blur(image: NDArray[np.uint8], severity: int) -> NDArray[np.uint8]:
    """A lens out of focus: convolution with a disc of radius 3 to 10 pixels whose edge is smoothed.

    Args:
        image: uint8 (H, W, 3) BGR.
        severity: 1 to 5.

    Returns:
        uint8 (H, W, 3).

    Raises:
        UsageError: Another dtype or shape, or a severity out of range.
    """
    pixels = _checked(image, severity)
    return _rounded(np.asarray(cv2.filter2D(pixels, -1, _disc(*_DEFOCUS[severity - 1])), np.float32))


def gaussian_noise(image: NDArray[np.uint8], severity: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """A sensor in the dark: independent noise of standard deviation 0.08 to 0.38 of full scale.

    Args:
        image: uint8 (H, W, 3) BGR.
        severity: 1 to 5.
        seed: Of the noise.

    Returns:
        uint8 (H, W, 3).

    Raises:
        UsageError: Another dtype or shape, or a severity out of range.
    """
    pixels = _checked(image, severity)
    noise = np.random.default_rng(seed).standard_normal(pixels.shape, np.float32)
    return _rounded(pixels + np.float32(_NOISE[severity - 1]) * noise)


CORRUPTIONS = MappingProxyType[str, Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]](
    {
        "brightness": brightness,
        "contrast": contrast,
        "defocus_blur": defocus_blur,
        "gaussian_noise": gaussian_noise,
    }
)


def corrupt(image: NDArray[np.uint8], name: str, severity: int) -> NDArray[np.uint8]:
    """Apply the corruption of a name.

    Args:
        image: uint8 (H, W, 3) BGR.
        name: One of `CORRUPTIONS`.
        severity: 1 to 5.

    Raises:
        UsageError: An unknown name, or what the corruption refuses.
    """
    if name not in CORRUPTIONS:
        raise UsageError(f"Unknown corruption: {name}.", f"Choose from: {', '.join(CORRUPTIONS)}.")
    return CORRUPTIONS[name](image, severity)


def _checked(image: NDArray[np.uint8], severity: int) -> NDArray[np.float32]:
    if severity not in SEVERITIES:
        raise UsageError(f"Severity must be 1 to 5, not {severity}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(f"The image must be uint8 (H, W, 3), not {image.dtype} {image.shape}.")
    return image.astype(np.float32) / np.float32(255.0)


def _rounded(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(pixels, 0.0, 1.0) * 255.0), np.uint8)


def _disc(radius: int, smoothing: float) -> NDArray[np.float32]:
    reach, size = (8, 3) if radius <= 8 else (radius, 5)
    axis = np.arange(-reach, reach + 1)
    disc = (axis[None, :] ** 2 + axis[:, None] ** 2 <= radius**2).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(disc / disc.sum(), (size, size), smoothing), np.float32)
