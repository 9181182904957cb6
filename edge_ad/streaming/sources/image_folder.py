"""A folder of images, in the order of their names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import IMAGE_SUFFIXES, read_image
from edge_ad.streaming.sources.base import Source, file_path
from edge_ad.streaming.sources.pacing import Pacer

__all__ = ["ImageFolderSource"]


class ImageFolderSource(Source):
    """Every image of a folder (not of the folders inside it), or one image file.

    Args:
        path: The folder or file.
        loop: Start again after the last, with what is in the folder then.
        fps: Images per second; None gives them as fast as they are read.
    """

    def __init__(self, path: Path, *, loop: bool = False, fps: float | None = None) -> None:
        super().__init__(str(path), is_live=False)
        self._path, self._loop, self._fps = path, loop, fps
        self._pacer = None if fps is None else Pacer(1 / fps)
        self._remaining: Iterator[Path] = iter(())
        self._significant_bits: int | None = None
        self._cancelled = threading.Event()

    @property
    def fps(self) -> float | None:
        """Images per second that were asked for."""
        return self._fps

    def expect_bits(self, significant_bits: int | None, *, takes_8_bits: bool) -> None:
        """Read the images with this depth; one of another depth is not judged."""
        self._significant_bits = significant_bits

    def open(self) -> None:
        """List the folder; an image that cannot be decoded is named when it is reached."""
        paths = [self._path] if self._path.is_file() else _images(self._path)
        if not paths:
            raise DataError(f"There is no image in {self._path}.", f"Known endings: {', '.join(IMAGE_SUFFIXES)}.")
        self._remaining = iter(paths)

    def read(self) -> NDArray[np.uint8] | None:
        """The next image; None after the last, or when cancelled."""
        if self._pacer is not None:
            self._pacer.wait(self._cancelled)
        if self._cancelled.is_set():
            return None
        path = next(self._remaining, None)
        if path is None and self._loop:
            self.open()
            path = next(self._remaining)
        if path is None:
            return None
        self.path = file_path(path)
        return read_image(path, self._significant_bits)

    def close(self) -> None:
        """Nothing is held open."""
        self._remaining = iter(())

    def cancel(self) -> None:
        """End the wait for an image that is due later."""
        self._cancelled.set()


def _images(folder: Path) -> list[Path]:
    if not folder.exists():
        raise DataError(f"No such file or folder: {folder}.", "Give a folder of images, an image or a video.")
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    except OSError as error:
        raise DataError(
            f"The folder cannot be read ({error.strerror}): {folder}.", "Check the permissions of the folder."
        ) from error
