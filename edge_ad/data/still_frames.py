"""Whether two photos differ by the noise of the camera alone, and so show one part that did not move.

The difference of two such photos is white: what a pixel differs by says nothing of its neighbour. Two parts differ in
shape, place and light, and neighbours differ alike. Two photos of one part are called frames of a still camera where

- their difference is white: its correlation from a pixel to the next is at most 0.25 along both axes;
- it is no more than the noise that is measured in the photos themselves;
- it is far less than the contrast of the photos, which then show the same thing below the noise.

The noise level is the median over blocks of what Immerkær's mask leaves of a photo (Fast noise variance estimation,
CVIU 1996). Parts whose only difference is a white texture weaker than the noise that is measured are not told apart.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["StillFrames"]

_MOST_CORRELATION = 0.25
_MOST_NOISE = 1.3  # of what the two noise levels together would give
_MOST_CONTRAST = 0.2  # of the standard deviation of the photos
_BLOCK = 5
_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6  # gives white noise its own standard deviation


class StillFrames:
    """Compares each of a set of photos with the others.

    Args:
        grey: (N, h, w), small grey photos of one size, at least 8 × 8 pixels.
    """

    def __init__(self, grey: NDArray[np.uint8]) -> None:
        images = grey.astype(np.float32)
        self._images = images - images.mean((1, 2), keepdims=True)
        self._squares = np.square(self._images).mean((1, 2))
        self._noise = np.square([_noise_level(image) for image in images])

    def of(self, rows: slice) -> NDArray[np.bool_]:
        """Which photos differ from some of them by noise alone: bool (rows, N)."""
        count = self._images[0].size
        flat = self._images.reshape(len(self._images), -1)
        apart = self._squares[rows, np.newaxis] + self._squares - 2 / count * flat[rows] @ flat.T
        contrast = (self._squares[rows, np.newaxis] + self._squares) / 2
        noise = self._noise[rows, np.newaxis] + self._noise
        alike: NDArray[np.bool_] = (apart <= _MOST_NOISE**2 * noise) & (apart <= _MOST_CONTRAST**2 * contrast)
        columns = np.flatnonzero(alike.any(0))
        if columns.size:
            alike[:, columns] &= self._is_white(rows, columns, apart[:, columns])
        return alike

    def _is_white(self, rows: slice, columns: NDArray[np.int64], apart: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether neighbours of the differences, whose mean squares are ``apart``, are uncorrelated; both axes."""
        first, second = self._images[rows], self._images[columns]
        limit = _MOST_CORRELATION * np.maximum(apart, 0) + np.finfo(np.float32).eps
        pairs = ((np.s_[:, :, 1:], np.s_[:, :, :-1]), (np.s_[:, 1:], np.s_[:, :-1]))
        return np.logical_and(*(abs(_shifted(first[a], first[b], second[a], second[b])) <= limit for a, b in pairs))


def _shifted(
    first: NDArray[np.float32],
    first_next: NDArray[np.float32],
    second: NDArray[np.float32],
    second_next: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Mean of ``(a - b) (a' - b')`` for each a of ``first`` and b of ``second``, a' and b' being their neighbours."""
    a, a_next, b, b_next = (part.reshape(len(part), -1) for part in (first, first_next, second, second_next))
    own = (a * a_next).sum(1)[:, np.newaxis] + (b * b_next).sum(1)
    mean: NDArray[np.float32] = (own - a @ b_next.T - a_next @ b.T) / a.shape[1]
    return mean


def _noise_level(image: NDArray[np.float32]) -> float:
    """Standard deviation of the noise of an image (h, w): that of its median block."""
    left = np.square(cv2.filter2D(image, -1, _MASK)[1:-1, 1:-1])
    rows, columns = left.shape[0] // _BLOCK, left.shape[1] // _BLOCK
    blocks = left[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return float(np.sqrt(np.median(blocks.mean((1, 3)))))
