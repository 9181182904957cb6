"""Random fields drawn at one reference size and enlarged: a larger photo shows the same part, not a finer one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.perlin import fractal_noise

__all__ = ["REFERENCE", "clouds", "enlarged"]

REFERENCE = 256
_COARSE = 96  # enough for fields without detail, and seven times as fast


def clouds(
    size_hw: tuple[int, int], cells_hw: tuple[int, int], rng: np.random.Generator, *, octaves: int
) -> NDArray[np.float32]:
    """Fractal noise of few cells, float32 (h, w), about in [-1, 1]."""
    return enlarged(fractal_noise((_COARSE, _COARSE), cells_hw, rng, octaves=octaves), size_hw)


def enlarged(field: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Bring a field to the size of the photo, float32 (h, w)."""
    return np.asarray(cv2.resize(field, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
