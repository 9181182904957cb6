"""Depth and shape of a product's photos, and how one fills a network's input; kept in run and bundle."""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.document import Document

__all__ = ["BIT_DEPTHS", "Fit", "PhotoSpec", "resize"]

_LARGEST_LINEAR_RATIO = 4.0  # to twice the size: every pixel still counts
_MOST_KEPT = 8  # sizes; photos of many sizes would fill the memory
BIT_DEPTHS = (8, 10, 12, 14, 16)
_ENOUGH_PIXELS = 128  # half the side of the usual input: a frame of so many is enlarged by two at most
_SHAPE_TOLERANCE = 0.03  # of a ratio of sides: a crop by a pixel or two, 16:9 in 720 lines

Fit = Literal["stretch", "letterbox", "crop"]
"""How a photo fills the network's square: stretched, whole with its edge pixels repeated beside it, or its centre
alone."""

Rectangle = tuple[int, int, int, int]
"""Top, left, height and width, in pixels."""


def resize(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize without keeping the aspect ratio; an axis that shrinks is averaged, so that no thin defect is skipped.

    Large images are halved while both axes allow, brought to twice the size linearly and halved once more: within one
    grey level of the exact area average on average, in a quarter of its time (1280×720 to 256×256). Each thread reuses
    its intermediate images; the result is always a new array.

    Args:
        image: uint8 (H, W, 3).
        size_hw: Height and width of the result, in pixels.

    Returns:
        uint8 (h, w, 3); the image itself when it has the size already.
    """
    height, width = size_hw
    scale = partial(_scale, final_hw=size_hw)
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        image = scale(image, image.shape[0] // 2, image.shape[1] // 2, cv2.INTER_AREA)
    if image.shape[:2] == size_hw:
        return image
    ratios = (image.shape[0] / height, image.shape[1] / width)
    if max(ratios) <= 1:
        return scale(image, height, width, cv2.INTER_LINEAR)
    if max(ratios) > _LARGEST_LINEAR_RATIO:  # a long strip: linear interpolation would skip pixels
        image = scale(image, min(height, image.shape[0]), min(width, image.shape[1]), cv2.INTER_AREA)
        return scale(image, height, width, cv2.INTER_LINEAR)
    return scale(scale(image, 2 * height, 2 * width, cv2.INTER_LINEAR), height, width, cv2.INTER_AREA)


def _scale(
    image: NDArray[np.uint8], height: int, width: int, interpolation: int, *, final_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    if image.shape[:2] == (height, width):
        return image
    # The input has another size than the result, and so is another of the kept images.
    result = None if (height, width) == final_hw else _kept.image(height, width)
    return np.asarray(cv2.resize(image, (width, height), dst=result, interpolation=interpolation), np.uint8)


class _Kept(threading.local):
    """Buffers that a thread reuses: fresh memory pages would cost two fifths of the resizing."""

    def __init__(self) -> None:
        self._images: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def image(self, height: int, width: int) -> NDArray[np.uint8]:
        """uint8 (height, width, 3) with any content, the same one for the same size."""
        found = self._images.get((height, width))
        if found is None:
            if len(self._images) >= _MOST_KEPT:
                self._images.clear()
            found = self._images[height, width] = np.empty((height, width, 3), np.uint8)
        return found


_kept = _Kept()


class PhotoSpec(Document):
    """Depth and shape of the good photos a detector was trained on.

    The defaults are those of older runs: the high byte of 16 bits, any shape stretched to the square.

    Attributes:
        significant_bits: Bits of a value that the product's photos use: 8, 10, 12, 14 or 16; None takes the high byte
            of 16 bits, whatever they hold.
        fit: How a photo fills the network's input.
        aspect_ratios: Lowest and highest width / height among them; None takes every shape.
        size_hw: The most frequent height and width among them, in pixels; for messages.
        smallest_hw: The least height and the least width among them, in pixels; None as older runs, where those of
            ``size_hw`` count.
    """

    significant_bits: Literal[8, 10, 12, 14, 16] | None = None
    fit: Fit = "stretch"
    aspect_ratios: tuple[float, float] | None = None
    size_hw: tuple[int, int] | None = None
    smallest_hw: tuple[int, int] | None = None

    def shape_problem(self, height: int, width: int) -> str:
        """Why a frame is not of the shape that was trained on, or far smaller, in words; empty where neither.

        Far smaller is one with a side of fewer than 128 pixels that is less than half of the least one trained on:
        enlarged to the network's input, it shows no small defect.

        Args:
            height: Of the frame, in pixels.
            width: Of the frame, in pixels.
        """
        low, high = self.aspect_ratios or (0.0, math.inf)
        if not low / (1 + _SHAPE_TOLERANCE) <= width / height <= high * (1 + _SHAPE_TOLERANCE):
            return f"{width}×{height} is another shape than the photos that were trained on, {self._trained_on()}"
        least_hw = self.smallest_hw or self.size_hw or (0, 0)
        if any(side < min(least / 2, _ENOUGH_PIXELS) for side, least in zip((height, width), least_hw, strict=True)):
            return f"{width}×{height} is far smaller than the photos that were trained on, {self._trained_on()}"
        return ""

    def to_input(self, image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """Bring a photo into the network's input.

        Args:
            image: uint8 (H, W, 3).
            size_hw: Height and width of the input, in pixels.

        Returns:
            uint8 (h, w, 3); the image itself when it fits already.
        """
        if self.fit == "stretch":
            return resize(image, size_hw)
        height, width = image.shape[:2]
        if self.fit == "crop":
            top, left, height, width = _crop(height, width, size_hw)
            return resize(image[top : top + height, left : left + width], size_hw)
        top, left, height, width = _letterbox(height, width, size_hw)
        inner = resize(image, (height, width))
        # Repeat edge pixels: a bar of one colour would make an edge that no part has.
        bars = (top, size_hw[0] - top - height, left, size_hw[1] - left - width)
        return np.asarray(cv2.copyMakeBorder(inner, *bars, cv2.BORDER_REPLICATE), np.uint8)

    def map_on_photo(self, anomaly_map: NDArray[np.float32], photo_hw: tuple[int, int]) -> NDArray[np.float32]:
        """The part of a map that lies on the photo, so that it covers the photo as a whole when it is resized.

        Args:
            anomaly_map: float32 (h, w), of the network's input.
            photo_hw: Height and width of the photo, in pixels.

        Returns:
            float32, of another size where bars are cut off (letterbox) or unseen borders are filled with the map's
            lowest value (crop).
        """
        if self.fit == "stretch":
            return anomaly_map
        size_hw = (anomaly_map.shape[0], anomaly_map.shape[1])
        if self.fit == "letterbox":
            top, left, height, width = _letterbox(*photo_hw, size_hw)
            return anomaly_map[top : top + height, left : left + width]
        top, left, height, width = _crop(*photo_hw, size_hw)
        # At the map's own resolution: the photo is larger than what the network saw by these shares.
        whole = (round(size_hw[0] * photo_hw[0] / height), round(size_hw[1] * photo_hw[1] / width))
        result = np.full(whole, anomaly_map.min(), np.float32)
        row, column = round(whole[0] * top / photo_hw[0]), round(whole[1] * left / photo_hw[1])
        row, column = min(row, whole[0] - size_hw[0]), min(column, whole[1] - size_hw[1])
        result[row : row + size_hw[0], column : column + size_hw[1]] = anomaly_map
        return result

    def _trained_on(self) -> str:
        size = "" if self.size_hw is None else f"{self.size_hw[1]}×{self.size_hw[0]}"
        low, high = self.aspect_ratios or (1.0, 1.0)
        ratios = f"{low:.2f}:1" if math.isclose(low, high, rel_tol=0.01) else f"{low:.2f}:1 to {high:.2f}:1"
        return f"{size} ({ratios})" if size else ratios


def _letterbox(height: int, width: int, size_hw: tuple[int, int]) -> Rectangle:
    """Position of the whole photo in the input."""
    scale = min(size_hw[0] / height, size_hw[1] / width)
    inner_h, inner_w = max(1, round(height * scale)), max(1, round(width * scale))
    inner_h, inner_w = min(inner_h, size_hw[0]), min(inner_w, size_hw[1])
    return (size_hw[0] - inner_h) // 2, (size_hw[1] - inner_w) // 2, inner_h, inner_w


def _crop(height: int, width: int, size_hw: tuple[int, int]) -> Rectangle:
    """The largest rectangle of the input's shape in the middle of the photo."""
    scale = min(height / size_hw[0], width / size_hw[1])
    inner_h, inner_w = max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))
    inner_h, inner_w = min(inner_h, height), min(inner_w, width)
    return (height - inner_h) // 2, (width - inner_w) // 2, inner_h, inner_w
