"""The drawing of the sample part: a square flange with a turned boss, a centre bore, four bolt holes and a pin hole.

Lengths are in units of half the image's shorter side, the origin is the centre of the part, y points down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.simulated_defects.textures import fractal_noise

__all__ = ["BOLT_CENTRES", "HALF_SIDE", "REFERENCE", "Hole", "Outline", "clouds", "enlarged", "flange", "part_grid"]

HALF_SIDE = 0.68
CORNER_RADIUS = 0.15
BOSS_RADIUS = 0.365
_BOLT_OFFSET = 0.475
BOLT_CENTRES = tuple((sx * _BOLT_OFFSET, sy * _BOLT_OFFSET) for sy in (-1, 1) for sx in (-1, 1))
REFERENCE = 256
_COARSE = 96  # enough for fields without detail, and seven times as fast


@dataclass(frozen=True)
class Hole:
    """A round hole through the part.

    Attributes:
        x: Centre.
        y: Centre.
        radius: Of the bore.
        countersink: Width of the conical ring around it.
    """

    x: float
    y: float
    radius: float
    countersink: float


@dataclass(frozen=True, eq=False)  # compared by identity, so that derived values can be cached
class Outline:
    """The shape of one part.

    Attributes:
        x: float32 (h, w), horizontal coordinate of every pixel.
        y: float32 (h, w), vertical coordinate.
        pixel: Side of a pixel.
        edge: float32 (h, w), signed distance to the outer edge, negative inside.
        holes: The holes.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    pixel: float
    edge: NDArray[np.float32]
    holes: tuple[Hole, ...]

    @cached_property
    def distance(self) -> NDArray[np.float32]:
        """Signed distance to the nearest border of the metal, float32 (h, w); negative in the metal."""
        distance = self.edge
        for hole in self.holes:
            distance = np.maximum(distance, hole.radius - np.hypot(self.x - hole.x, self.y - hole.y))
        return np.asarray(distance, np.float32)


@lru_cache(maxsize=2)
def flange(size_hw: tuple[int, int]) -> Outline:
    """Draw a good part; its arrays must not be changed."""
    x, y, pixel = part_grid(size_hw)
    bolts = tuple(Hole(cx, cy, 0.075, 0.034) for cx, cy in BOLT_CENTRES)
    holes = (Hole(0.0, 0.0, 0.185, 0.025), Hole(0.0, -0.52, 0.036, 0.012), *bolts)
    return Outline(x, y, pixel, _rounded_square(x, y), holes)


def part_grid(size_hw: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Coordinates of the pixels, x and y as float32 (h, w), and the side of a pixel."""
    height, width = size_hw
    pixel = 2.0 / min(size_hw)
    rows = (np.arange(height, dtype=np.float32) - (height - 1) / 2) * np.float32(pixel)
    columns = (np.arange(width, dtype=np.float32) - (width - 1) / 2) * np.float32(pixel)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return x, y, pixel


def _rounded_square(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    dx = np.abs(x) - np.float32(HALF_SIDE - CORNER_RADIUS)
    dy = np.abs(y) - np.float32(HALF_SIDE - CORNER_RADIUS)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return np.asarray(outside + np.minimum(np.maximum(dx, dy), 0) - np.float32(CORNER_RADIUS), np.float32)


def clouds(
    size_hw: tuple[int, int], cells_hw: tuple[int, int], rng: np.random.Generator, *, octaves: int
) -> NDArray[np.float32]:
    """Fractal noise of few cells, float32 (h, w), about in [-1, 1]."""
    return enlarged(fractal_noise((_COARSE, _COARSE), cells_hw, rng, octaves=octaves), size_hw)


def enlarged(field: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Bring a field to the size of the photo, float32 (h, w)."""
    return np.asarray(cv2.resize(field, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
