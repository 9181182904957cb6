"""The metal of the sample part: chamfers and countersinks as slopes, brushed and turned finish as reflectance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.sample_product.drawing import BOSS_RADIUS, Hole, Outline
from edge_ad.data.sample_product.fields import REFERENCE, clouds, enlarged

__all__ = ["Surface", "machine"]

_REFERENCE = (
    256  # Grain is drawn at this size and enlarged, so that a larger photo shows the same metal, not a finer one.
)
_METAL_BGR = (0.635, 0.620, 0.600)
_CHAMFER = 0.022
_BOSS_STEP = 0.014


@dataclass
class Surface:
    """What light falls on; defects change it in place.

    Attributes:
        cover: float32 (h, w) in [0, 1], share of the pixel that is metal.
        slope: float32 (h, w, 2), tilt of the surface along x and y; 0 is level.
        reflectance: float32 (h, w, 3) BGR, about 0.6 for clean metal.
    """

    cover: NDArray[np.float32]
    slope: NDArray[np.float32]
    reflectance: NDArray[np.float32]


def machine(outline: Outline, rng: np.random.Generator) -> Surface:
    """Machine a part from its drawing.

    Args:
        outline: The shape.
        rng: Source of the grain: the same state gives the same grain, whatever the shape.
    """
    finish = 1.0 + _finish(outline, rng)
    reflectance = finish[..., None] * np.array(_METAL_BGR, np.float32)
    cover = np.clip(0.5 - outline.distance / np.float32(outline.pixel), 0.0, 1.0)
    return Surface(np.asarray(cover, np.float32), _slopes(outline).copy(), np.asarray(reflectance, np.float32))


def _finish(outline: Outline, rng: np.random.Generator) -> NDArray[np.float32]:
    size_hw = (outline.x.shape[0], outline.x.shape[1])
    radius = np.hypot(outline.x, outline.y)
    brushed = _brushed(size_hw, rng)
    rings = _turned(radius, np.arctan2(outline.y, outline.x), rng)
    on_boss = np.clip(0.5 + (BOSS_RADIUS - radius) / np.float32(outline.pixel), 0.0, 1.0)
    unevenness = 0.035 * clouds(size_hw, (4, 4), rng, octaves=2)
    return np.asarray(unevenness + on_boss * (rings + 0.06) + (1.0 - on_boss) * brushed, np.float32)


def _brushed(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    # Two lengths of brush marks: long ones carry the direction, short ones the grain.
    noise = rng.standard_normal((REFERENCE, REFERENCE)).astype(np.float32)
    long = cv2.blur(noise, (91, 1)) * np.float32(np.sqrt(91))
    short = cv2.blur(noise, (15, 1)) * np.float32(np.sqrt(15))
    grain = 0.026 * long + 0.016 * short
    return enlarged(grain, size_hw)


def _turned(radius: NDArray[np.float32], angle: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    # Concentric grooves reflect a lamp as two opposite fans of light.
    grooves = rng.normal(0.0, 0.03, 64) + 0.025 * np.cos(np.arange(64) * np.pi)
    tone = np.interp(radius, np.linspace(0.0, BOSS_RADIUS * 1.05, 64), grooves)
    fans = 0.11 * np.cos(2.0 * angle + 1.6) + 0.03 * np.cos(4.0 * angle + 0.4)
    return np.asarray(tone + fans, np.float32)


@lru_cache(maxsize=2)
def _slopes(outline: Outline) -> NDArray[np.float32]:
    edge_y, edge_x = np.gradient(outline.edge, outline.pixel)
    band = _band(-outline.edge, _CHAMFER, outline.pixel)
    slope = np.stack([edge_x, edge_y], axis=-1) * band[..., None]
    for hole in outline.holes:
        slope -= _countersink(outline, hole)
    radius = np.hypot(outline.x, outline.y)
    rise = np.asarray(radius - np.float32(BOSS_RADIUS - _BOSS_STEP / 2), np.float32)
    step = _band(rise, _BOSS_STEP, outline.pixel) / np.maximum(radius, 1e-3)
    return np.asarray(slope + 0.8 * np.stack([outline.x * step, outline.y * step], axis=-1), np.float32)


def _countersink(outline: Outline, hole: Hole) -> NDArray[np.float32]:
    dx, dy = outline.x - np.float32(hole.x), outline.y - np.float32(hole.y)
    distance = np.hypot(dx, dy)
    ring = _band(distance - hole.radius, hole.countersink, outline.pixel) / np.maximum(distance, 1e-3)
    return np.asarray(np.stack([dx * ring, dy * ring], axis=-1), np.float32)


def _band(depth: NDArray[np.float32], width: float, pixel: float) -> NDArray[np.float32]:
    inner = np.clip(0.5 + depth / np.float32(pixel), 0.0, 1.0)
    return np.asarray(inner * np.clip(0.5 + (width - depth) / np.float32(pixel), 0.0, 1.0), np.float32)
