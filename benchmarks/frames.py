"""Frames for the stream benchmarks: photos of parts passing by, and a source that has them in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.bundle import Bundle
from edge_ad.errors import DataError
from edge_ad.images import IMAGE_SUFFIXES, read_image
from edge_ad.streaming.sources import Source

__all__ = ["MemorySource", "passing_parts", "photos"]

_FRAMES_PER_PART = 30
_PIXELS_PER_FRAME = 8
_MOST_PHOTOS = 20


class MemorySource(Source):
    """Frames that are in memory already.

    Args:
        images: uint8 (H, W, 3) BGR each, again and again.
        interval_s: Give one each so many seconds, as a live camera does; None gives them as fast as they are read.
        seconds: End after so long.
        name: What it is called.
    """

    def __init__(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        interval_s: float | None = None,
        seconds: float = 1.0,
        name: str = "memory",
    ) -> None:
        super().__init__(name, is_live=interval_s is not None)
        self._images, self._interval_s, self._seconds = cycle(images), interval_s, seconds
        self._next_at = self._ends_at = 0.0

    def open(self) -> None:
        """Nothing is to be opened; time runs from the first frame."""
        self.source_count = 0

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame, when it is due."""
        now = time.perf_counter()
        self._ends_at = self._ends_at or now + self._seconds
        if now >= self._ends_at:
            return None
        if self._interval_s is not None:
            self._next_at = max(self._next_at + self._interval_s, now) if self._next_at else now
            time.sleep(max(0.0, self._next_at - now))
        self.source_count = (self.source_count or 0) + 1
        return next(self._images)

    def close(self) -> None:
        """Nothing is open."""


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
