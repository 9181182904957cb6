"""Camera-like frames for the stream benchmarks: photos of parts passing by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.bundle import Bundle
from edge_ad.errors import DataError
from edge_ad.images import IMAGE_SUFFIXES, read_image

__all__ = ["passing_parts", "photos"]

_FRAMES_PER_PART = 30
_PIXELS_PER_FRAME = 8
_MOST_PHOTOS = 20


def photos(bundle: Bundle, folder: Path | None, size_hw: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Photos of a folder, or the reference photos inside the bundle.

    Args:
        bundle: Whose reference photos are taken when no folder is given.
        folder: Folder of images; None takes the bundle's.
        size_hw: Height and width of a frame, in pixels.

    Returns:
        At most twenty frames, uint8 (H, W, 3) BGR.
    """
    found = list(bundle.reference().images) if folder is None else _read(folder)
    height, width = size_hw
    return [np.asarray(cv2.resize(image, (width, height)), np.uint8) for image in found[:_MOST_PHOTOS]]


def passing_parts(parts: Sequence[NDArray[np.uint8]], frames: int) -> Iterator[NDArray[np.uint8]]:
    """A line that moves from left to right, with the next part every thirty frames.

    Args:
        parts: Photos of one size.
        frames: How many frames.

    Yields:
        uint8 (H, W, 3) BGR.
    """
    for number in range(frames):
        part = parts[number // _FRAMES_PER_PART % len(parts)]
        yield np.roll(part, _PIXELS_PER_FRAME * number, axis=1)


def _read(folder: Path) -> list[NDArray[np.uint8]]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError(f"There is no image in {folder}.")
    return [read_image(path) for path in paths[:_MOST_PHOTOS]]
