"""Where a person marked a defect: strokes of a brush, and the mask that they make."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError

__all__ = ["MOST_STROKES", "Stroke", "parse_strokes", "strokes_mask"]

MOST_STROKES = 64
_MOST_POINTS = 1000  # of all strokes together
_SCALE = 1000
_LARGEST_RADIUS = 250
_HINT = "A stroke is {radius, points: [x, y, ...]}, in thousandths of the frame's width and height."


class Stroke(NamedTuple):
    """One stroke.

    Attributes:
        radius: Of the brush, in thousandths of the frame's longer side.
        points: Its points, each ``(x, y)`` in thousandths of the frame's width and height; at least one.
    """

    radius: int
    points: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """As `parse_strokes` takes it."""
        return {"radius": self.radius, "points": [value for point in self.points for value in point]}


def parse_strokes(value: object) -> tuple[Stroke, ...]:
    """Check strokes that came as JSON; None are none.

    Raises:
        UsageError: They are something else, or too many.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST_STROKES:
        raise UsageError(f"place must be a list of at most {MOST_STROKES} strokes.", _HINT)
    strokes = tuple(_stroke(item) for item in value)
    if sum(len(stroke.points) for stroke in strokes) > _MOST_POINTS:
        raise UsageError(f"The strokes have more than {_MOST_POINTS} points.", "Mark the place with fewer strokes.")
    return strokes


def strokes_mask(strokes: tuple[Stroke, ...], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Draw strokes.

    Args:
        strokes: Some.
        size_hw: Height and width of the frame, in pixels.

    Returns:
        bool (h, w), True where the brush went.
    """
    ink = np.zeros(size_hw, np.uint8)
    ends = np.array(size_hw[::-1]) - 1
    for stroke in strokes:
        pixels = np.rint(np.array(stroke.points) * ends / _SCALE).astype(np.int32)
        radius = max(1, round(stroke.radius * max(size_hw) / _SCALE))
        cv2.polylines(ink, [pixels.reshape(-1, 1, 2)], False, 255, 2 * radius)
        for x, y in pixels.tolist():
            cv2.circle(ink, (x, y), radius, 255, cv2.FILLED)
    return np.asarray(ink > 0)


def _stroke(item: object) -> Stroke:
    radius, points = (item.get("radius"), item.get("points")) if isinstance(item, dict) else (None, None)
    if not _is_whole(radius, 1, _LARGEST_RADIUS) or not isinstance(points, list) or not points or len(points) % 2:
        raise UsageError("A stroke needs a radius and points.", _HINT)
    if not all(_is_whole(value, 0, _SCALE) for value in points):
        raise UsageError(f"A point of a stroke is a whole number from 0 to {_SCALE}.", _HINT)
    return Stroke(int(str(radius)), tuple(zip(points[::2], points[1::2], strict=True)))


def _is_whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
