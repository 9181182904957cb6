"""Decode and resize images: the one preprocessing that training, calibration and every runtime share."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.image_formats.completeness import damage
from edge_ad.image_formats.headers import is_lossy, read_header
from edge_ad.image_formats.parsing import parsed_or
from edge_ad.image_formats.tiff import TIFF_SIGNATURES, as_read_by_libtiff, further_pages, undecodable
from edge_ad.image_limits import excess, largest_file, pixel_limit, without_metadata
from edge_ad.opencv_log import silence_opencv
from edge_ad.photo_spec import BIT_DEPTHS, PhotoSpec, resize

__all__ = [
    "IMAGE_SUFFIXES",
    "ImageFacts",
    "StorageFacts",
    "as_bgr8",
    "decode_image",
    "probe_image",
    "read_image",
    "read_resized",
    "read_stored",
    "resize",
    "storage_facts",
    "unturned_size",
]


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")

_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
_EXIF = re.compile(rb"(?i)exif")
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_JPEG_COLOURS = ("Gray", "YCbCr", "RGB")
# Padding of cameras, and warnings that do not concern the pixels.
_HARMLESS = re.compile(r"\b\d{1,2} extraneous bytes before marker|progression sequence|Adobe|JFIF|SOS parameters")

# Every failure to decode is raised as a DataError; OpenCV's own log would only repeat it on stderr.
silence_opencv()


def read_image(path: Path, significant_bits: int | None = None) -> NDArray[np.uint8]:
    """Read an image file as a camera would deliver it.

    Grey images get three equal channels, an alpha channel is dropped, the highest 8 of the significant bits are kept,
    and an orientation in the Exif data is applied.

    Args:
        path: A PNG, JPEG, BMP, TIFF, WebP, PGM or PPM file.
        significant_bits: Bits of a value that the product's photos use; None takes the high byte of 16 bits.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        DataError: The file cannot be read, is empty, truncated, damaged or too large, is not an image, or is of another
            depth.
    """
    return decode_image(_read_bytes(path), str(path), significant_bits)


class ImageFacts(NamedTuple):
    """Facts about a photo from which a product's depth and shape are found.

    Attributes:
        file_bits: Bits of a value in the file, 8 or 16.
        highest: The highest value in it.
        size_hw: Height and width, in pixels.
        has_further_pages: Whether it holds more pictures than the one that is read.
    """

    file_bits: int
    highest: int
    size_hw: tuple[int, int]
    has_further_pages: bool


def probe_image(path: Path) -> ImageFacts:
    """Read what `ImageFacts` says of an image file.

    Raises:
        DataError: As in `read_image`.
    """
    content = _read_bytes(path)
    image = _checked(content, str(path), _COLOUR)
    return ImageFacts(8 * image.dtype.itemsize, int(image.max()), image.shape[:2], further_pages(content))


def decode_image(content: bytes, name: str, significant_bits: int | None = None) -> NDArray[np.uint8]:
    """Decode the bytes of an image file; the only decoder of foreign images in this package.

    Its size is read from its headers first: an image larger than EDGE_AD_MAX_IMAGE_PIXELS (100 million pixels),
    of unknown size, or more expensive than its pixels, is not decoded.

    Args:
        content: A PNG, JPEG, BMP, TIFF, WebP, PGM or PPM file.
        name: What it is, for messages.
        significant_bits: As in `read_image`.

    Returns:
        As `read_image`.

    Raises:
        DataError: It is empty, truncated, damaged, too large, not an image, or of another depth.
        UsageError: EDGE_AD_MAX_IMAGE_PIXELS is not a number.
    """
    return as_bgr8(_checked(content, name, _COLOUR), name, significant_bits)


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


class StorageFacts(NamedTuple):
    """How the pixels of a file are stored.

    Attributes:
        is_lossy: Whether its values are not exact: JPEG, lossy WebP, or TIFF with JPEG inside.
        has_further_pages: Whether it holds more pictures than the one that is read.
    """

    is_lossy: bool
    has_further_pages: bool


def storage_facts(path: Path) -> StorageFacts:
    """Find out how an image file is stored, whatever its ending.

    Raises:
        DataError: It cannot be read.
    """
    content = _read_bytes(path)
    return StorageFacts(is_lossy(content), further_pages(content))


def unturned_size(path: Path) -> tuple[int, int] | None:
    """Height and width of a photo as it is stored, where its Exif data turn or mirror it; None where they do not.

    Raises:
        DataError: As in `read_image`.
    """
    content = _read_bytes(path)
    if not (_EXIF.search(content) or content.startswith(TIFF_SIGNATURES)):
        return None
    upright = _checked(content, str(path), _COLOUR)
    stored = _checked(content, str(path), _COLOUR | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if np.array_equal(upright, stored) else (stored.shape[0], stored.shape[1])


def _checked(content: bytes, name: str, flags: int) -> NDArray[np.generic]:
    if (what := damage(content)) is not None:
        raise DataError(f"The file {what}: {name}.", "Copy or export it again.")
    if read_header(content) is None:
        raise DataError(
            f"Not an image that can be decoded: {name}.", "Use PNG, JPEG, BMP, TIFF, WebP, PGM or PPM files."
        )
    if (what := undecodable(content)) is not None:
        raise DataError(f"The file {what}: {name}.", "Save it with 8 or 16 bits, without compression or with LZW.")
    if (what := excess(content)) is not None:
        raise DataError(f"The file {what}: {name}.", "Use an image of a camera; see EDGE_AD_MAX_IMAGE_PIXELS.")
    jpeg = _decode_jpeg(content, name) if content.startswith(_JPEG_SIGNATURE) else None
    if jpeg is not None and flags == _COLOUR and not _EXIF.search(content):  # OpenCV applies the orientation of Exif
        return jpeg
    # OpenCV raises for impossible dimensions, or a header that contradicts itself.
    image = parsed_or(None, lambda: _decode(as_read_by_libtiff(without_metadata(content)), flags))
    if image is None or image.shape[0] * image.shape[1] > pixel_limit():
        raise DataError(
            f"Not an image that can be decoded: {name}.", "Use PNG, JPEG, BMP, TIFF, WebP, PGM or PPM files."
        )
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"Pixels of type {image.dtype} have no fixed range: {name}.", "Save it with 8 or 16 bits.")
    return image


def read_resized(paths: Sequence[Path], size_hw: tuple[int, int], photos: PhotoSpec | None = None) -> NDArray[np.uint8]:
    """Read images and fit them to a network's input.

    Args:
        paths: N image files.
        size_hw: Height and width, in pixels.
        photos: Depth and shape of the product's photos; None for the behaviour of older runs.

    Returns:
        uint8 (N, h, w, 3), BGR.

    Raises:
        DataError: As in `read_image`, or the part on a photo cannot be aligned.
    """
    photos = photos or PhotoSpec()
    images = np.empty((len(paths), *size_hw, 3), np.uint8)
    for index, path in enumerate(paths):
        made = photos.prepare(read_image(path, photos.significant_bits), size_hw)
        if made.problem:
            raise DataError(f"The part on {path} cannot be aligned: {made.problem}.", "Remove it, or take it again.")
        images[index] = made.image
    return images


def _read_bytes(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            most = largest_file()
            is_fit = stat.S_ISREG(status.st_mode) and status.st_size <= most
            content = file.read() if is_fit else None
    except FileNotFoundError as error:
        raise DataError(f"No such image: {path}.") from error
    except OSError as error:
        raise DataError(f"The image cannot be read ({error.strerror}): {path}.") from error
    except ValueError as error:  # a null character in the name
        raise DataError(f"The image cannot be read ({error}): {str(path)!r}.") from error
    if content is None:
        raise DataError(
            f"The file is larger than {most:,} bytes, or no regular file: {path}.", "See EDGE_AD_MAX_IMAGE_PIXELS."
        )
    return content


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes into is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decode(content: bytes, flags: int) -> NDArray[np.generic] | None:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    return None if image is None else np.asarray(image)


def _decode_jpeg(content: bytes, name: str) -> NDArray[np.uint8] | None:
    """Decode a JPEG as OpenCV does, pixel for pixel, but refuse one whose data are damaged.

    Returns:
        uint8 (H, W, 3), BGR; None where OpenCV is to decode it: other colours, or bytes between the picture and its
        end, as many cameras write them.

    Raises:
        DataError: Its data are damaged; decoders fill what is missing with grey.
    """
    try:
        *_, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in _JPEG_COLOURS:
            return None
        image = simplejpeg.decode_jpeg(content, colorspace="BGR", fastdct=False, fastupsample=False, strict=True)
    except ValueError as error:
        if _HARMLESS.search(str(error)):
            return None
        raise DataError(f"The file is damaged ({error}): {name}.", "Copy or export it again.") from error
    return np.asarray(image, np.uint8)


def as_bgr8(image: NDArray[np.generic], name: str, significant_bits: int | None) -> NDArray[np.uint8]:
    """Bring the pixels of a photo to 8 bits, by the highest 8 of the significant bits.

    Args:
        image: uint8 or uint16, any shape.
        name: What it is, for messages.
        significant_bits: Bits of a value that the product's photos use; None takes the high byte of 16 bits.

    Raises:
        DataError: It is of another depth than the product's photos.
    """
    if image.dtype == np.uint8:
        if significant_bits not in (None, 8):
            raise _another_depth(name, "has 8 bits", significant_bits)
        return np.asarray(image, np.uint8)
    values = np.asarray(image, np.uint16)
    if significant_bits is None:
        return (values >> 8).astype(np.uint8)
    highest = int(values.max())
    if highest >= 1 << significant_bits:
        raise _another_depth(name, f"has values up to {highest:,}", significant_bits)
    # A product of 8 bits in files of 16 may be as dark as any; others use more than their last few bits.
    if significant_bits > BIT_DEPTHS[0] and highest < 1 << significant_bits - 4:
        raise _another_depth(name, f"has no value above {highest:,}", significant_bits)
    return (values >> significant_bits - 8).astype(np.uint8)


def _another_depth(name: str, found: str, significant_bits: int | None) -> DataError:
    return DataError(
        f"A photo of another depth: {name} {found}, and the product's photos use {significant_bits} bits.",
        "Save it like the photos that were trained on, or train on photos like this one.",
    )
