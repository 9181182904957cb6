"""Decode and resize images: the one preprocessing that training, calibration and every runtime share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.image_formats import damage
from edge_ad.opencv_log import silence_opencv
from edge_ad.resizing import resize

__all__ = ["IMAGE_SUFFIXES", "read_image", "read_resized", "resize"]


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

# Every failure to decode is raised as a DataError; OpenCV's own log would only repeat it on stderr.
silence_opencv()


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as a camera would deliver it.

    Grey images get three equal channels, an alpha channel is dropped, 16-bit values keep their high byte, and an
    orientation in the Exif data is applied.

    Args:
        path: A PNG, JPEG, BMP, TIFF or WebP file.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        DataError: The file cannot be read, is empty, truncated or damaged, or is not an image.
    """
    content = _read_bytes(path)
    if (what := damage(content)) is not None:
        raise DataError(f"The file {what}: {path}.", "Copy or export it again.")
    image = _decode(content)
    if image is None:
        raise DataError(f"Not an image that can be decoded: {path}.", "Use PNG, JPEG, BMP, TIFF or WebP files.")
    return _as_bgr8(image, path)


def read_resized(paths: Sequence[Path], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Read images and bring them to one size.

    Args:
        paths: N image files.
        size_hw: Height and width, in pixels.

    Returns:
        uint8 (N, h, w, 3), BGR.

    Raises:
        DataError: As in `read_image`.
    """
    images = np.empty((len(paths), *size_hw, 3), np.uint8)
    for index, path in enumerate(paths):
        images[index] = resize(read_image(path), size_hw)
    return images


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"No such image: {path}.") from error
    except OSError as error:
        raise DataError(f"The image cannot be read ({error.strerror}): {path}.") from error


def _decode(content: bytes) -> NDArray[np.generic] | None:
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:  # impossible dimensions, or a header that contradicts itself
        return None
    return None if image is None else np.asarray(image)


def _as_bgr8(image: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    if image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    if image.dtype == np.uint16:
        return (np.asarray(image, np.uint16) >> 8).astype(np.uint8)
    raise DataError(f"Pixels of type {image.dtype} have no fixed range: {path}.", "Save it with 8 or 16 bits.")
