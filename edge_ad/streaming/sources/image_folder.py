"""A folder of images, in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import IMAGE_SUFFIXES, read_image
from edge_ad.streaming.sources.base import Source

__all__ = ["ImageFolderSource"]


class ImageFolderSource(Source):
    """Every image of a folder (not of the folders inside it), or one image file.

    Args:
        path: The folder or file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), is_live=False)
        self._path = path
        self._remaining: Iterator[Path] = iter(())

    def open(self) -> None:
        """List the folder; an image that cannot be decoded is named when it is reached."""
        paths = [self._path] if self._path.is_file() else _images(self._path)
        if not paths:
            raise DataError(f"There is no image in {self._path}.", f"Known endings: {', '.join(IMAGE_SUFFIXES)}.")
        self._remaining = iter(paths)

    def read(self) -> NDArray[np.uint8] | None:
        """The next image; None after the last."""
        path = next(self._remaining, None)
        return None if path is None else read_image(path)

    def close(self) -> None:
        """Nothing is held open."""
        self._remaining = iter(())


def _images(folder: Path) -> list[Path]:
    if not folder.exists():
        raise DataError(f"No such file or folder: {folder}.", "Give a folder of images, an image or a video.")
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    except OSError as error:
        raise DataError(
            f"The folder cannot be read ({error.strerror}): {folder}.", "Check the permissions of the folder."
        ) from error
