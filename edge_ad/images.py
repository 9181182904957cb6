"""Decode and resize images: the one preprocessing that training, calibration and every runtime share."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.image_formats import damage
from edge_ad.image_headers import parsed_or, read_header
from edge_ad.image_limits import excess, largest_file, pixel_limit, without_metadata
from edge_ad.opencv_log import silence_opencv
from edge_ad.resizing import resize
from edge_ad.tiff_directory import TIFF_SIGNATURES

__all__ = ["IMAGE_SUFFIXES", "decode_image", "read_image", "read_resized", "read_stored", "resize", "unturned_size"]


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")

_EXIF = re.compile(rb"(?i)exif")

# Every failure to decode is raised as a DataError; OpenCV's own log would only repeat it on stderr.
silence_opencv()


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as a camera would deliver it.

    Grey images get three equal channels, an alpha channel is dropped, 16-bit values keep their high byte, and an
    orientation in the Exif data is applied.

    Args:
        path: A PNG, JPEG, BMP, TIFF, WebP, PGM or PPM file.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        DataError: The file cannot be read, is empty, truncated, damaged or too large, or is not an image.
    """
    return decode_image(_read_bytes(path), str(path))


def decode_image(content: bytes, name: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file; every image of others that this package decodes comes through here.

    Its size is read from its headers first: what is larger than EDGE_AD_MAX_IMAGE_PIXELS (100 million pixels), does
    not tell its size, or costs more than its pixels do, is not decoded.

    Args:
        content: A PNG, JPEG, BMP, TIFF, WebP, PGM or PPM file.
        name: What it is, for messages.

    Returns:
        As `read_image`.

    Raises:
        DataError: It is empty, truncated, damaged, too large, or not an image.
        UsageError: EDGE_AD_MAX_IMAGE_PIXELS is no number.
    """
    return _as_bgr8(_checked(content, name, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH), name)


def read_stored(path: Path) -> NDArray[np.generic]:
    """Read the pixels of an image file as they are stored: channels, alpha, depth and, whatever Exif says, orientation.

    Args:
        path: A PNG, JPEG, BMP, TIFF, WebP, PGM or PPM file.

    Returns:
        (H, W) or (H, W, C), BGR or BGRA; a palette is replaced by its colours.

    Raises:
        DataError: As in `read_image`.
    """
    return _checked(_read_bytes(path), str(path), cv2.IMREAD_UNCHANGED)


def unturned_size(path: Path) -> tuple[int, int] | None:
    """Height and width of a photo as it is stored, where its Exif data turn or mirror it; None where they do not.

    Raises:
        DataError: As in `read_image`.
    """
    content = _read_bytes(path)
    if not (_EXIF.search(content) or content.startswith(TIFF_SIGNATURES)):
        return None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    upright = _checked(content, str(path), flags)
    stored = _checked(content, str(path), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if np.array_equal(upright, stored) else (stored.shape[0], stored.shape[1])


def _checked(content: bytes, name: str, flags: int) -> NDArray[np.generic]:
    if (what := damage(content)) is not None:
        raise DataError(f"The file {what}: {name}.", "Copy or export it again.")
    if read_header(content) is None:
        raise DataError(
            f"Not an image that can be decoded: {name}.", "Use PNG, JPEG, BMP, TIFF, WebP, PGM or PPM files."
        )
    if (what := excess(content)) is not None:
        raise DataError(f"The file {what}: {name}.", "Use an image of a camera; see EDGE_AD_MAX_IMAGE_PIXELS.")
    # OpenCV raises for impossible dimensions, or a header that contradicts itself.
    image = parsed_or(None, lambda: _decode(without_metadata(content), flags))
    if image is None or image.shape[0] * image.shape[1] > pixel_limit():
        raise DataError(
            f"Not an image that can be decoded: {name}.", "Use PNG, JPEG, BMP, TIFF, WebP, PGM or PPM files."
        )
    return image


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
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            most = largest_file()
            is_fit = stat.S_ISREG(status.st_mode) and status.st_size <= most
            content = file.read() if is_fit else None
    except FileNotFoundError as error:
        raise DataError(f"No such image: {path}.") from error
    except OSError as error:
        raise DataError(f"The image cannot be read ({error.strerror}): {path}.") from error
    if content is None:
        raise DataError(
            f"The file is larger than {most:,} bytes, or no regular file: {path}.", "See EDGE_AD_MAX_IMAGE_PIXELS."
        )
    return content


def _decode(content: bytes, flags: int) -> NDArray[np.generic] | None:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    return None if image is None else np.asarray(image)


def _as_bgr8(image: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    if image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    if image.dtype == np.uint16:
        return (np.asarray(image, np.uint16) >> 8).astype(np.uint8)
    raise DataError(f"Pixels of type {image.dtype} have no fixed range: {name}.", "Save it with 8 or 16 bits.")
