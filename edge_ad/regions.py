"""Where on a photo the defects are: connected regions of an anomaly map above its threshold."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_REGIONS", "Region", "find_regions"]

MOST_REGIONS = 20
"""The regions with the highest peaks are kept; a picture that is anomalous everywhere has hundreds."""

_FEW = 64  # components, up to which to look at each alone is faster than to look at all pixels once


@dataclass(frozen=True)
class Region:
    """A connected part of a photo whose anomaly map is above the threshold.

    Attributes:
        x: Left edge of its box, in pixels of the photo.
        y: Top edge.
        width: Of the box, in pixels.
        height: Of the box, in pixels.
        area: Pixels of the photo that it covers, rounded.
        peak: Highest map value in it, in the unit of the score.
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    peak: float

    def to_dict(self) -> dict[str, Any]:
        """The attributes as values that JSON can hold."""
        return asdict(self)


def find_regions(anomaly_map: NDArray[np.float32], threshold: float, photo_hw: tuple[int, int]) -> tuple[Region, ...]:
    """Find the connected regions (8 neighbours) of a map above a threshold.

    Args:
        anomaly_map: float32 (h, w) that covers the whole photo, at any resolution.
        threshold: Map value above which a pixel is anomalous, in the unit of the map.
        photo_hw: Height and width of the photo, in pixels; boxes and areas are brought to it.

    Returns:
        At most `MOST_REGIONS`, the one with the highest peak first; none where the map or the threshold is not finite,
        which says nothing of places.
    """
    if not (math.isfinite(threshold) and np.isfinite(anomaly_map).all()):
        return ()
    above = (anomaly_map > threshold).view(np.uint8)
    if not above.any():
        return ()
    left, top, width, height = cv2.boundingRect(above)
    part = np.s_[top : top + height, left : left + width]
    boxes, peaks = _components(np.ascontiguousarray(above[part]), np.ascontiguousarray(anomaly_map[part]))
    highest = sorted(range(len(boxes)), key=lambda index: (-peaks[index], index))[:MOST_REGIONS]
    scale = (photo_hw[0] / anomaly_map.shape[0], photo_hw[1] / anomaly_map.shape[1])
    found = ([left + boxes[index][0], top + boxes[index][1], *boxes[index][2:]] for index in highest)
    return tuple(_on_photo(box, float(peaks[index]), scale) for box, index in zip(found, highest, strict=True))


def _components(above: NDArray[np.uint8], values: NDArray[np.float32]) -> tuple[list[list[int]], list[float]]:
    """The components of a binary picture: boxes (left, top, width, height, pixels), and the highest value in each."""
    # OpenCV labels in 16 bits three times as fast; no two of the components of 8 neighbours share a block of 2 x 2.
    fits = (above.shape[0] // 2 + 1) * (above.shape[1] // 2 + 1) < np.iinfo(np.uint16).max
    kind = cv2.CV_16U if fits else cv2.CV_32S
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8, ltype=kind)
    boxes: list[list[int]] = stats[1:].tolist()
    if count > _FEW:
        peaks = np.full(count, -np.inf, np.float32)
        inside = above.astype(bool)
        np.maximum.at(peaks, labels[inside].astype(np.intp), values[inside])
        return boxes, peaks[1:].tolist()
    return boxes, [_peak(labels, values, number, box) for number, box in enumerate(boxes, start=1)]


def _peak(labels: NDArray[np.integer[Any]], values: NDArray[np.float32], number: int, box: list[int]) -> float:
    left, top, width, height, _ = box
    part = np.s_[top : top + height, left : left + width]
    return float(cv2.minMaxLoc(values[part], (labels[part] == number).view(np.uint8))[1])


def _on_photo(box: list[int], peak: float, scale: tuple[float, float]) -> Region:
    """A box (left, top, width, height, pixels) of the map, grown to whole pixels of the photo."""
    left, top, width, height, pixels = box
    x, y = math.floor(left * scale[1]), math.floor(top * scale[0])
    right, bottom = math.ceil((left + width) * scale[1]), math.ceil((top + height) * scale[0])
    return Region(x, y, right - x, bottom - y, max(1, round(pixels * scale[0] * scale[1])), peak)
