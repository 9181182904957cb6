"""A folder of images, in the order of their names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import IMAGE_SUFFIXES, read_image
from edge_ad.outside_text import storable
from edge_ad.photo_files import PhotoList, find_photos
from edge_ad.streaming.sources.base import Source, file_path
from edge_ad.streaming.sources.pacing import Pacer

__all__ = ["ImageFolderSource"]


class ImageFolderSource(Source):
    """Every image of a folder (not of the folders inside it), or one image file.

    One that cannot be decoded is counted in ``corrupt`` and named in ``corrupt_names`` and ``notes``; so is, once, what
    of the folder is left out.

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
        self._left_out = ""
        self._problem: DataError | None = None  # of an image, while none of this round could be decoded
        self._is_any_readable = False
        self._cancelled = threading.Event()

    @property
    def fps(self) -> float | None:
        """Images per second that were asked for."""
        return self._fps

    def expect_bits(self, significant_bits: int | None, *, takes_8_bits: bool) -> None:
        """Read the images with this depth; one of another depth is not judged."""
        self._significant_bits = significant_bits

    def open(self) -> None:
        """List the folder."""
        found = PhotoList(self._path, (self._path,)) if self._path.is_file() else _images(self._path)
        left_out = found.left_out()
        if not found.photos:
            also = f" (left out: {left_out})" if left_out else ""
            raise DataError(f"There is no image in {self._path}{also}.", f"Known endings: {', '.join(IMAGE_SUFFIXES)}.")
        if left_out not in ("", self._left_out):
            self.notes.append(f"Left out of {self._path}: {left_out}.")
        self._left_out = left_out
        self._remaining = iter(found.photos)
        self._is_any_readable = False

    def read(self) -> NDArray[np.uint8] | None:
        """The next image that can be decoded; None after the last, or when cancelled.

        Raises:
            DataError: Not one image of the folder can be decoded.
        """
        if self._pacer is not None:
            self._pacer.wait(self._cancelled)
        while not self._cancelled.is_set():
            if (path := self._next()) is None:
                return None
            try:
                image = read_image(path, self._significant_bits)
            except DataError as error:
                self._count_corrupt(path, error)
            else:
                self._is_any_readable = True
                self.path = file_path(path)
                return image
        return None

    def _next(self) -> Path | None:
        path = next(self._remaining, None)
        if path is not None:
            return path
        if self._problem is not None and not self._is_any_readable:
            raise self._problem
        if not self._loop:
            return None
        self.open()
        return next(self._remaining)

    def _count_corrupt(self, path: Path, error: DataError) -> None:
        self.corrupt_names.append(storable(path.name))
        self.corrupt += 1
        self.notes.append(error.message)
        self._problem = error

    def close(self) -> None:
        """Nothing is held open."""
        self._remaining = iter(())

    def cancel(self) -> None:
        """End the wait for an image that is due later."""
        self._cancelled.set()


def _images(folder: Path) -> PhotoList:
    if not folder.exists():
        raise DataError(f"No such file or folder: {folder}.", "Give a folder of images, an image or a video.")
    return find_photos(folder)
