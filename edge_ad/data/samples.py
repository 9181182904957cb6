"""A product's photos: those of good parts, and test photos with what is known of their defects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.masks import marked_pixels
from edge_ad.errors import DataError

__all__ = ["Product", "Sample", "read_mask", "resize_mask"]


@dataclass(frozen=True)
class Sample:
    """One test image.

    Attributes:
        path: The image file.
        is_defective: Whether the part has a defect.
        defect_type: Name of the defect's folder; ``"good"`` for a good part.
        mask_path: Mask of the defect; None for good parts and where nobody drew one.
        more_masks: Further masks of it, which are united with the first.
    """

    path: Path
    is_defective: bool
    defect_type: str
    mask_path: Path | None
    more_masks: tuple[Path, ...] = ()

    @property
    def masks(self) -> tuple[Path, ...]:
        """All its masks."""
        return () if self.mask_path is None else (self.mask_path, *self.more_masks)


@dataclass(frozen=True)
class Product:
    """The images of one product.

    Attributes:
        name: Name of the folder.
        root: The folder.
        good: Images of good parts for training, sorted by path; empty where only test images were asked for.
        test: Test images, sorted by type and path; empty for a flat folder.
        skipped: Unreadable files that were left out because that was asked for.
        remarks: What was left out, which masks were not found, and what looks odd: a line each.
    """

    name: str
    root: Path
    good: tuple[Path, ...]
    test: tuple[Sample, ...]
    skipped: tuple[Path, ...] = ()
    remarks: tuple[str, ...] = ()


def read_mask(sample: Sample, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Read the mask of a test image.

    Args:
        sample: The test image.
        size_hw: Height and width of the result, in pixels.

    Returns:
        bool (h, w), True where the defect is; all False for a good part.

    Raises:
        DataError: A defective sample without a mask, or a mask that cannot be decoded.
    """
    if not sample.is_defective:
        return np.zeros(size_hw, np.bool_)
    if sample.mask_path is None:
        raise DataError(f"No mask for the defective image {sample.path}.")
    return resize_mask(marked_pixels(sample.masks)[0], size_hw)


def resize_mask(mask: NDArray[np.bool_], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Resize a mask by its nearest pixels; a defect so small that none of them marks it stays marked.

    Args:
        mask: bool (H, W).
        size_hw: Height and width of the result, in pixels.

    Returns:
        bool (h, w).
    """
    pixels = mask.astype(np.uint8)
    resized = cv2.resize(pixels, size_hw[::-1], interpolation=cv2.INTER_NEAREST)
    if pixels.any() and not resized.any():  # nearest-neighbour sampling jumped over a very small defect
        resized = cv2.resize(pixels.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_AREA) > 0
    return np.asarray(resized, np.bool_)
