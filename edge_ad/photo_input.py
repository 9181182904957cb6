"""Photos as a program has them: a path, an array or a PIL image, decoded to the pixels that are judged."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError, UsageError
from edge_ad.images import as_bgr8, read_image

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Photo", "decode_photo"]

Photo: TypeAlias = "str | PathLike[str] | NDArray[Any] | Image"
"""An image file's path; an array (H, W, 3) BGR or (H, W) grey of uint8, or of uint16 where the bundle's photos have
more than 8 bits; or a PIL image. A result keeps a contiguous array itself, not a copy: give a copy where the next frame
is written into the same array."""

_pil_setting = threading.Lock()  # it is one for all threads


def decode_photo(photo: Photo, significant_bits: int | None) -> tuple[NDArray[np.uint8], str]:
    """The pixels of a photo, and its path.

    Args:
        photo: Path, array or PIL image.
        significant_bits: Bits of a value that the bundle's photos use; None where it is not known.

    Returns:
        Pixels, uint8 BGR (H, W, 3), and the path of a file; empty where there is none.

    Raises:
        DataError: It is missing, damaged or of another depth.
        UsageError: It is a folder, or no photo.
    """
    if isinstance(photo, (str, PathLike)):
        path = Path(fspath(photo))
        if os.path.isdir(path):  # noqa: PTH112 - false, not an error, for a name that no file can have
            raise UsageError(f"{path} is a folder.", "Judge its photos with detector.stream(folder).")
        return read_image(path, significant_bits), str(path)
    if isinstance(photo, np.ndarray):
        return _from_array(photo, significant_bits), ""
    if hasattr(photo, "convert") and hasattr(photo, "mode"):
        return _from_pil(photo, significant_bits), str(getattr(photo, "filename", ""))
    hint = "Give a path, a uint8 BGR array or a PIL image, or a list of them."
    raise UsageError(f"{type(photo).__name__} is no photo.", hint)


def _from_array(array: NDArray[Any], significant_bits: int | None) -> NDArray[np.uint8]:
    is_grey = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    if array.dtype not in (np.uint8, np.uint16) or not (is_grey or (array.ndim == 3 and array.shape[2] == 3)):
        raise UsageError(
            f"An array of {array.dtype} and shape {array.shape} is no photo.",
            "Give uint8 (or uint16 for photos of more bits) of shape (H, W, 3), BGR as OpenCV gives it, or (H, W).",
        )
    if not array.size:
        raise UsageError("An array without a pixel is no photo.")
    image = as_bgr8(array, "the array", significant_bits)
    return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) if is_grey else np.ascontiguousarray(image)


def _from_pil(image: Image, significant_bits: int | None) -> NDArray[np.uint8]:
    try:
        with _whole_files_only():
            pixels = _pil_pixels(image, significant_bits)
        return _from_array(pixels, significant_bits)
    except (OSError, SyntaxError, ValueError) as error:
        hint = "It may be closed, or its file damaged: open it again."
        raise DataError(f"The PIL image cannot be read ({error}).", hint) from error


@contextmanager
def _whole_files_only() -> Iterator[None]:
    """Inside, PIL refuses a file that ends early; many programs tell it to make up the pixels that are missing."""
    from PIL import ImageFile

    with _pil_setting:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def _pil_pixels(image: Image, significant_bits: int | None) -> NDArray[Any]:
    """Pixels (H, W, 3), BGR, of uint8; or (H, W) of uint16 where the image has more than 8 bits."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)  # as files are read
    if upright.mode.startswith("I;16"):
        return np.asarray(upright)
    if upright.mode not in ("I", "F"):
        return np.asarray(upright.convert("RGB"))[..., ::-1]
    # PIL would cut these off at 255 without a word; older versions open PNG files of 16 bits as "I".
    values = np.asarray(upright)
    if upright.mode == "F" or significant_bits is None or values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise DataError(f"A PIL image of mode {upright.mode} has no depth of a photo.", "Convert it to L, RGB or I;16.")
    return values.astype(np.uint16)
