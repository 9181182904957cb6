"""A part that lies at any angle on plain ground, drawn with a defect whose place is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["LENGTH", "RenderedPart", "render_part"]

LENGTH = 120.0
"""Of the part, from its head to its tip, in pixels."""
_GROUND, _STEEL, _DEFECT = 190, 80, 30
_SHIFT = 4  # bits of fractions of a pixel
_OUTLINE = np.array([[-60, -24], [-46, -24], [-40, -10], [50, -10], [60, 0], [50, 10], [-40, 10], [-46, 24], [-60, 24]])


class RenderedPart(NamedTuple):
    """A photo of the part.

    Attributes:
        photo: uint8 (H, W, 3).
        defect_xy: Centre of the defect, in pixels of the photo.
    """

    photo: NDArray[np.uint8]
    defect_xy: tuple[float, float]


def render_part(
    angle: float,
    *,
    centre_xy: tuple[float, float] = (120.0, 90.0),
    photo_hw: tuple[int, int] = (180, 240),
    scale: float = 1.0,
    defect_at: tuple[float, float] | None = None,
    seed: int = 0,
) -> RenderedPart:
    """Draw the part.

    Args:
        angle: In radians, from the x axis towards the y axis.
        centre_xy: Of the part, in pixels.
        photo_hw: Height and width of the photo, in pixels.
        scale: Of the part.
        defect_at: Where a dark spot is painted, in pixels of the part from its centre; None for a good part.
        seed: Of the noise.
    """
    photo = np.full(photo_hw, _GROUND, np.uint8)
    outline = _placed(_OUTLINE.astype(float), angle, centre_xy, scale)
    cv2.fillPoly(photo, [np.rint(outline * (1 << _SHIFT)).astype(np.int32)], _STEEL, cv2.LINE_AA, _SHIFT)
    spot = _placed(np.array([defect_at or (0.0, 0.0)]), angle, centre_xy, scale)[0]
    if defect_at is not None:
        middle = tuple(np.rint(spot * (1 << _SHIFT)).astype(int).tolist())
        cv2.circle(photo, middle, round(3 * scale * (1 << _SHIFT)), _DEFECT, -1, cv2.LINE_AA, _SHIFT)
    noisy = photo + np.random.default_rng(seed).normal(0, 2, photo_hw)
    grey = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return RenderedPart(np.repeat(grey[..., None], 3, axis=2), (float(spot[0]), float(spot[1])))


def _placed(
    points: NDArray[np.float64], angle: float, centre_xy: tuple[float, float], scale: float
) -> NDArray[np.float64]:
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return np.asarray(scale * points @ turn + np.array(centre_xy))
