"""The camera: focus, sensor noise and compression, from what is there to what is stored."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.sample_product.fields import REFERENCE

__all__ = ["noise_field", "take_photo", "with_noise"]

# All three vary from photo to photo. With one level of noise only, the smoothness of a video would be an anomaly.
_FOCUS_PIXELS = (0.0, 0.5)
_NOISE_LEVELS = (0.2, 1.2)
_JPEG_QUALITY = (40, 97)
_SHARP_PIXELS = 0.15


def take_photo(scene: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Take a still photo.

    Args:
        scene: float32 (h, w, 3) BGR in [0, 255], without noise.
        rng: Source of the focus, the noise and the compression.

    Returns:
        uint8 (h, w, 3), with the traces of JPEG compression that a network camera leaves.
    """
    focus = float(rng.uniform(*_FOCUS_PIXELS)) * min(scene.shape[:2]) / REFERENCE
    if focus > _SHARP_PIXELS:
        scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), focus), np.float32)
    field = noise_field(scene.shape, rng, levels=float(rng.uniform(*_NOISE_LEVELS)))
    noisy = with_noise(np.rint(scene).astype(np.int16), field)
    quality = int(rng.integers(*_JPEG_QUALITY))
    stored: Any = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)


def noise_field(shape: tuple[int, ...], rng: np.random.Generator, *, levels: float = 1.6) -> NDArray[np.int16]:
    """Draw sensor noise.

    Args:
        shape: Height, width and channels.
        rng: Its source.
        levels: Standard deviation at 256 pixels, of 255; more pixels on the same sensor are noisier ones.

    Returns:
        int16, of that shape.
    """
    return np.rint(rng.normal(0.0, levels * min(shape[:2]) / REFERENCE, shape)).astype(np.int16)


def with_noise(scene: NDArray[np.int16], noise: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Add noise to a scene in whole levels; the sum is clipped to [0, 255]."""
    return np.asarray(cv2.add(scene, noise, dtype=cv2.CV_8U), np.uint8)
