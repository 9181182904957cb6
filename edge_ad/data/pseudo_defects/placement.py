"""Where the part is in an image, so that pseudo-defects are put on it and not on an empty background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_centre", "foreground"]

_ON_PART = 0.9


def foreground(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Regions with structure, closed and filled: the part when the background is flat, else about everything.

    Args:
        image: uint8 (h, w, 3).

    Returns:
        bool (h, w); all True when nothing stands out.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    side = max(3, round(min(grey.shape) / 32) | 1)
    mean = cv2.blur(grey, (side, side))
    variance = np.maximum(cv2.blur(grey * grey, (side, side)) - mean * mean, 0.0)
    deviation = np.sqrt(variance)
    busy = (deviation > max(2.0, 0.2 * float(np.percentile(deviation, 99)))).astype(np.uint8)
    closing = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * side + 1, 2 * side + 1))
    contours, _ = cv2.findContours(
        cv2.morphologyEx(busy, cv2.MORPH_CLOSE, closing), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    # Specks of sensor noise are no part.
    large = [contour for contour in contours if cv2.contourArea(contour) >= 0.002 * grey.size]
    filled = cv2.drawContours(np.zeros(grey.shape, np.uint8), large, -1, 1, cv2.FILLED).astype(np.bool_)
    return filled if filled.any() else np.ones(grey.shape, np.bool_)


def draw_centre(part: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int]:
    """Draw the centre of a defect: nine times of ten on the part, else anywhere.

    Returns:
        Row and column, in pixels.
    """
    if rng.random() >= _ON_PART:
        return int(rng.integers(part.shape[0])), int(rng.integers(part.shape[1]))
    pixels = np.flatnonzero(part)
    row, column = divmod(int(pixels[rng.integers(pixels.size)]), part.shape[1])
    return row, column
