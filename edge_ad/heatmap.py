"""Anomaly maps as pictures: false colours, blends over the frame, contours at the threshold.

Shared by the live overlay and by the evaluation report, so that a part looks the same on the line and on paper.
The colour scale is tied to the map's threshold, never to the largest value of one image: the middle of the scale
is the threshold, so a good part stays cool and two pictures can be compared.
"""

from __future__ import annotations

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CONTOUR_BGR", "blend", "colour_map", "contour"]

_Values = TypeVar("_Values", bound=np.generic)

CONTOUR_BGR = (0, 0, 255)
_HALO_BGR = (255, 255, 255)
_MOST_OPAQUE = 0.75


def colour_map(anomaly_map: NDArray[np.float32], map_threshold: float) -> NDArray[np.uint8]:
    """Paint an anomaly map in false colours: blue at 0, green at the threshold, red from twice the threshold on.

    Args:
        anomaly_map: (H, W), any float dtype.
        map_threshold: Map value in the middle of the scale, in the unit of the map.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    return _paint(_heat(anomaly_map, map_threshold))


def blend(image: NDArray[np.uint8], anomaly_map: NDArray[np.float32], map_threshold: float) -> NDArray[np.uint8]:
    """Lay the false colours over an image; the hotter a pixel, the less of the image shows through.

    Args:
        image: uint8 (H, W, 3), BGR.
        anomaly_map: (h, w), any float dtype; resized to the image.
        map_threshold: Map value in the middle of the scale, in the unit of the map.

    Returns:
        uint8 (H, W, 3), BGR; a new array.
    """
    heat = _fit(_heat(anomaly_map, map_threshold), image)
    # Most opaque from the threshold on, clear at 0: normal surface keeps its own look.
    opacity = np.minimum(heat.astype(np.float32) * (_MOST_OPAQUE / 127.5), np.float32(_MOST_OPAQUE))
    return np.asarray(cv2.blendLinear(_paint(heat), image, opacity, 1.0 - opacity), np.uint8)


def contour(image: NDArray[np.uint8], anomaly_map: NDArray[np.float32], map_threshold: float) -> NDArray[np.uint8]:
    """Draw the outlines of the regions whose map value is above the threshold.

    Args:
        image: uint8 (H, W, 3), BGR.
        anomaly_map: (h, w), any float dtype; resized to the image.
        map_threshold: Map value above which a pixel is anomalous, in the unit of the map.

    Returns:
        uint8 (H, W, 3), BGR; a new array.
    """
    above = _fit(np.asarray(anomaly_map, np.float32), image) > map_threshold
    outlines, _ = cv2.findContours(above.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn = image.copy()
    width = max(1, round(min(image.shape[:2]) / 200))
    # The halo keeps the line readable on red or dark parts.
    cv2.drawContours(drawn, outlines, -1, _HALO_BGR, width + 2, cv2.LINE_AA)
    cv2.drawContours(drawn, outlines, -1, CONTOUR_BGR, width, cv2.LINE_AA)
    return drawn


def _heat(anomaly_map: NDArray[np.float32], map_threshold: float) -> NDArray[np.uint8]:
    """Map values to 0..255 with the threshold at the middle, (H, W)."""
    values = np.asarray(anomaly_map, np.float32)
    # A threshold of 0 or less means that every positive value is anomalous, as in `normalised_score`.
    scale = 127.5 / max(map_threshold, float(np.finfo(np.float32).tiny))
    with np.errstate(over="ignore"):
        # Paint NaN hottest, so that a broken map is seen.
        heat = np.nan_to_num(values * np.float32(min(scale, 1e30)), nan=255.0)
    return np.asarray(np.clip(heat, 0.0, 255.0), np.uint8)


def _fit(values: NDArray[_Values], image: NDArray[np.uint8]) -> NDArray[_Values]:
    """Resize (h, w) values to the height and width of an image."""
    height, width = image.shape[:2]
    if values.shape == (height, width):
        return values
    resized: Any = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, values.dtype)


def _paint(heat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint uint8 (H, W) in the Turbo colours, BGR (H, W, 3)."""
    return np.asarray(cv2.applyColorMap(heat, cv2.COLORMAP_TURBO), np.uint8)
