"""Where a part lies on plain ground: centre, angle and extents, from a small mask of what differs from the border."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CUT_OFF", "MASK_SIDE", "NO_PART", "SEVERAL_PARTS", "PartPosition", "find_part", "foreground"]

MASK_SIDE = 128
"""Longest side of the mask, in pixels."""
NO_PART = "no part"
"""Nothing on the photo stands out from its border."""
CUT_OFF = "part cut off"
"""What stands out touches the border of the photo."""
SEVERAL_PARTS = "several parts"
"""Something else stands out that is not much smaller: one of them would pass without having been looked at."""

_LEAST_CONTRAST = 8  # of 255: Otsu's threshold on the noise of an empty belt lies below
_LEAST_AREA = 0.002  # of the photo
_SECOND_PART = 0.25  # of the area of the largest thing that stands out
_PART_CONTRAST = 0.75  # of the mean over Otsu's foreground: a shadow stands out less than the part that casts it
_CLOSING = np.ones((5, 5), np.uint8)
_OPENING = np.ones((3, 3), np.uint8)


class PartPosition(NamedTuple):
    """Where a part lies, in pixels of the photo.

    Attributes:
        centre_xy: Centre of its area.
        angle: Of its principal axis, in radians from the x axis towards the y axis, in (-π, π]. It points to where the
            part ends farther from its centre of area, by the skew (third central moment) along the axis.
        along: How far it reaches along the axis from the centre, to both sides: (negative, positive).
        across: Likewise across the axis, which is turned by +90° from it.
        elongation: Standard deviation of its area along the axis over that across.
        area: What its outline encloses, in square pixels.
        problem: Why no position can be told; empty where it can.
    """

    centre_xy: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0
    along: tuple[float, float] = (0.0, 0.0)
    across: tuple[float, float] = (0.0, 0.0)
    elongation: float = 1.0
    area: float = 0.0
    problem: str = ""

    @property
    def length(self) -> float:
        """Along the axis, in pixels of the photo."""
        return self.along[1] - self.along[0]


def find_part(small: NDArray[np.uint8], photo_hw: tuple[int, int]) -> PartPosition:
    """Find the largest thing that differs from the border of a photo.

    Args:
        small: uint8 (h, w, 3), the photo reduced by area to `MASK_SIDE` pixels or less.
        photo_hw: Height and width of the photo, in pixels; the result is in them.
    """
    mask = foreground(small)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    by_area = sorted(outlines, key=cv2.contourArea, reverse=True)
    if not by_area or cv2.contourArea(by_area[0]) < _LEAST_AREA * mask.size:
        return PartPosition(problem=NO_PART)
    outline = by_area[0]
    if len(by_area) > 1 and cv2.contourArea(by_area[1]) >= _SECOND_PART * cv2.contourArea(outline):
        return PartPosition(problem=SEVERAL_PARTS)
    x, y, width, height = cv2.boundingRect(outline)
    if x == 0 or y == 0 or x + width == mask.shape[1] or y + height == mask.shape[0]:
        return PartPosition(problem=CUT_OFF)
    scale_xy = photo_hw[1] / mask.shape[1], photo_hw[0] / mask.shape[0]
    points = (outline.astype(np.float32) + np.float32(0.5)) * np.array(scale_xy, np.float32) - np.float32(0.5)
    return _position(points)


def foreground(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What differs from the median colour of the border, without shadows.

    Otsu's threshold (1979) on the largest difference of a channel, and of what is above it that which is above three
    quarters of its mean.

    Args:
        small: uint8 (h, w, 3).

    Returns:
        uint8 (h, w), 255 or 0; all 0 where nothing stands out. Gaps of a few pixels (highlights) are closed, and
        threads of one or two are opened away.
    """
    border = np.concatenate([small[0], small[-1], small[1:-1, 0], small[1:-1, -1]])
    middle = np.partition(border, len(border) // 2, axis=0)[len(border) // 2]
    blue, green, red = cv2.split(cv2.absdiff(small, (*middle.tolist(), 0)))
    difference = cv2.max(cv2.max(blue, green), red)
    level, mask = cv2.threshold(difference, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    if level < _LEAST_CONTRAST:
        return np.zeros(difference.shape, np.uint8)
    level = max(level, _PART_CONTRAST * cv2.mean(difference, mask)[0])
    mask = cv2.threshold(difference, level, 255, cv2.THRESH_BINARY)[1]
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _CLOSING)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _OPENING), np.uint8)


def _position(outline: NDArray[np.float32]) -> PartPosition:
    """Moments of what an outline (N, 1, 2) encloses, holes included, and the extents of its hull."""
    moments: dict[str, Any] = cv2.moments(outline)
    centre = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    angle = 0.5 * math.atan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])
    if _skew(moments, angle) < 0:
        angle += math.pi if angle <= 0 else -math.pi
    hull = cv2.convexHull(outline)[:, 0] - np.array(centre, np.float32)
    axis = math.cos(angle), math.sin(angle)
    along, across = (hull @ np.array((axis, (-axis[1], axis[0])), np.float32).T).T
    return PartPosition(
        centre, angle, (float(along.min()), float(along.max())), (float(across.min()), float(across.max())),
        _elongation(moments), moments["m00"],
    )  # fmt: skip


def _skew(moments: dict[str, Any], angle: float) -> float:
    """Third central moment along an axis."""
    x, y = math.cos(angle), math.sin(angle)
    third = [moments[name] for name in ("mu30", "mu21", "mu12", "mu03")]
    return float(x**3 * third[0] + 3 * x * x * y * third[1] + 3 * x * y * y * third[2] + y**3 * third[3])


def _elongation(moments: dict[str, Any]) -> float:
    total, apart = moments["mu20"] + moments["mu02"], moments["mu20"] - moments["mu02"]
    root = math.hypot(apart, 2 * moments["mu11"])
    return math.sqrt((total + root) / max(total - root, 1e-9))
