"""Photographs of textures, from a folder of the user's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import read_image, resize
from edge_ad.photo_files import find_photos

__all__ = ["photographed_texture", "texture_photos"]


def texture_photos(folder: Path) -> tuple[Path, ...]:
    """Image files of a folder and of the folders in it, sorted by path.

    Raises:
        DataError: No such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder of textures {folder}.", "Leave textures out to have them rendered.")
    found = find_photos(folder, recursive=True).photos
    if not found:
        raise DataError(f"There is no image in {folder} or the folders in it.", "Leave textures out to render them.")
    return found


def photographed_texture(
    photos: Sequence[Path], size_hw: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A crop of half to all of one of the photographs, so that its grain comes in several sizes.

    Args:
        photos: Image files, at least one.
        size_hw: Height and width of the result, in pixels.
        rng: Draws photograph and crop.

    Returns:
        uint8 (h, w, 3), BGR.

    Raises:
        DataError: The photograph cannot be read.
    """
    photo = read_image(photos[int(rng.integers(len(photos)))])
    share = rng.uniform(0.5, 1.0)
    height, width = (max(1, int(side * share)) for side in photo.shape[:2])
    top, left = int(rng.integers(photo.shape[0] - height + 1)), int(rng.integers(photo.shape[1] - width + 1))
    return resize(np.ascontiguousarray(photo[top : top + height, left : left + width]), size_hw)
