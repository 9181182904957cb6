"""Photos that show the same thing again: by content, by perceptual hash, and by how little their pixels differ.

A camera that runs while the line stands still gives the same photo many times. Such frames say nothing new, and one of
them among the photos that were fitted on tells the score of another that is held out. The hash is dHash (Krawetz 2013):
each bit says whether a pixel of the photo, reduced to 16 × 17 grey values, is brighter than its left one. Photos of
one part under one camera often share it, so that a pair also has to differ far less than photos of this product do.
Where all photos are of one part that did not move, that is no measure: photos that differ by noise alone are near each
other too (`edge_ad.data.still_frames`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.still_frames import StillFrames
from edge_ad.images import read_resized
from edge_ad.photo_spec import PhotoSpec

__all__ = ["difference_hash", "near_duplicate_groups", "near_duplicates"]

_SIDE = 64
_HASH_SIDE = 16
_MOST_BITS = 8  # of 256 that may differ
_FAR_LESS = 0.2  # of the median difference of two photos of the product
_MEDIAN_OF = 300  # photos, evenly taken
_ROWS = 512
_ROUNDING = 0.05  # of the squared difference of a pixel, in float32


def near_duplicates(paths: Sequence[Path], photos: PhotoSpec | None = None) -> NDArray[np.int64]:
    """Number the photos so that those that show the same thing have the same number; see `near_duplicate_groups`.

    Args:
        paths: N photos.
        photos: What they are like.

    Returns:
        (N,), from 0, ascending by first appearance.

    Raises:
        DataError: One cannot be read.
    """
    return near_duplicate_groups(read_resized(paths, (_SIDE, _SIDE), photos))


def near_duplicate_groups(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Group images: two that are near each other are in one group, and so is what is near to either.

    Near are two whose hashes differ in at most 8 of 256 bits and whose grey values, without their mean, differ by at
    most a fifth of what two images of the set differ by in the median (root mean square), and two that differ by noise
    alone; equal images always are.

    Args:
        images: uint8 (N, 64, 64, 3), BGR.

    Returns:
        (N,), from 0, ascending by first appearance.
    """
    grey = np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images])
    signs = 2 * np.stack([difference_hash(image) for image in grey]).astype(np.float32) - 1
    flat = grey.reshape(len(grey), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    squares = np.square(flat).sum(1)
    limit = flat.shape[1] * ((_FAR_LESS * _median_difference(flat)) ** 2 + _ROUNDING)
    groups, still = np.arange(len(images)), StillFrames(grey)
    for start in range(0, len(images), _ROWS):
        rows = slice(start, start + _ROWS)
        alike = signs[rows] @ signs.T >= signs.shape[1] - 2 * _MOST_BITS
        near = squares[rows, np.newaxis] + squares - 2 * flat[rows] @ flat.T <= limit
        for together in (alike & near) | still.of(rows):
            numbers = groups[together]
            if (numbers != numbers[:1]).any():
                groups[np.isin(groups, numbers)] = numbers.min()
    return np.asarray(np.unique(groups, return_inverse=True)[1], np.int64)


def difference_hash(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each pixel of a grey image (h, w), reduced to 16 × 17, is brighter than its left one: bool (256,)."""
    small = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small[:, 1:] > small[:, :-1]).ravel()


def _median_difference(flat: NDArray[np.float32]) -> float:
    """Median root-mean-square difference of two of the rows (N, pixels); 0 for one row."""
    rows = flat[np.linspace(0, len(flat) - 1, min(len(flat), _MEDIAN_OF)).astype(int)].astype(np.float64)
    squares = np.square(rows).sum(1)
    apart = squares[:, np.newaxis] + squares - 2 * rows @ rows.T
    pairs = apart[np.triu_indices(len(rows), 1)]
    return float(np.sqrt(np.median(np.maximum(pairs, 0)) / flat.shape[1])) if pairs.size else 0.0
