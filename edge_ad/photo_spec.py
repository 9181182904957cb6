"""Depth and shape of a product's photos, and how one fills a network's input; kept in run and bundle."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_ad.alignment import Alignment, scaled_to, unaligned, warped
from edge_ad.document import Document
from edge_ad.errors import DataError
from edge_ad.resizing import resize

__all__ = ["BIT_DEPTHS", "Geometry", "NetworkInput", "PhotoSpec", "resize"]

BIT_DEPTHS = (8, 10, 12, 14, 16)
_ENOUGH_PIXELS = 128  # half the side of the usual input: a frame of so many is enlarged by two at most
_SHAPE_TOLERANCE = 0.03  # of a ratio of sides: a crop by a pixel or two, 16:9 in 720 lines

Geometry = Literal["stretch", "letterbox", "crop", "align"]
"""How a photo fills the network's input: stretched to its shape; whole, with its edge pixels repeated beside it; its
middle alone; or the part alone, found, turned and cut out."""

Rectangle = tuple[int, int, int, int]
"""Top, left, height and width, in pixels."""


class NetworkInput(NamedTuple):
    """A photo in the network's input.

    Attributes:
        image: uint8 (h, w, 3).
        matrix: Affine map (2, 3) from its pixels (x, y) to those of the photo, where the part was aligned; else None.
        problem: Why the part could not be aligned, so that nothing can be judged; empty where it could.
    """

    image: NDArray[np.uint8]
    matrix: NDArray[np.float64] | None = None
    problem: str = ""


class PhotoSpec(Document):
    """Depth and shape of the good photos a detector was trained on.

    The defaults are those of older runs: the high byte of 16 bits, any shape stretched to the input's.

    Attributes:
        significant_bits: Bits of a value that the product's photos use: 8, 10, 12, 14 or 16; None takes the high byte
            of 16 bits, whatever they hold.
        geometry: How a photo fills the network's input; older runs call it ``fit``.
        crop_share: Of the sides of the largest rectangle in the middle of the photo that ``crop`` takes, in (0, 1].
        alignment: The box around the part, where it is aligned; else None.
        aspect_ratios: Lowest and highest width / height among them; None takes every shape.
        size_hw: The most frequent height and width among them, in pixels; for messages.
        smallest_hw: The least height and the least width among them, in pixels; None as older runs, where those of
            ``size_hw`` count.
    """

    significant_bits: Literal[8, 10, 12, 14, 16] | None = None
    geometry: Geometry = "stretch"
    crop_share: float = Field(default=1.0, gt=0, le=1)
    alignment: Alignment | None = None
    aspect_ratios: tuple[float, float] | None = None
    size_hw: tuple[int, int] | None = None
    smallest_hw: tuple[int, int] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_older_runs(cls, values: Any) -> Any:
        if isinstance(values, dict) and "fit" in values and "geometry" not in values:
            return {**{key: value for key, value in values.items() if key != "fit"}, "geometry": values["fit"]}
        return values

    @model_validator(mode="after")
    def _has_a_box_to_align(self) -> PhotoSpec:
        if (self.alignment is None) == (self.geometry == "align"):
            raise ValueError("an alignment and the geometry align go together")
        return self

    def shape_problem(self, height: int, width: int) -> str:
        """Why a frame is not of the shape that was trained on, or far smaller, in words; empty where neither.

        Far smaller is one with a side of fewer than 128 pixels that is less than half of the least one trained on:
        enlarged to the network's input, it shows no small defect.

        Args:
            height: Of the frame, in pixels.
            width: Of the frame, in pixels.
        """
        low, high = self.aspect_ratios or (0.0, math.inf)
        if not low / (1 + _SHAPE_TOLERANCE) <= width / max(height, 1) <= high * (1 + _SHAPE_TOLERANCE):
            return f"{width}×{height} is another shape than the photos that were trained on, {self._trained_on()}"
        least_hw = self.smallest_hw or self.size_hw or (0, 0)
        if any(side < min(least / 2, _ENOUGH_PIXELS) for side, least in zip((height, width), least_hw, strict=True)):
            return f"{width}×{height} is far smaller than the photos that were trained on, {self._trained_on()}"
        return ""

    def prepare(self, image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NetworkInput:
        """Bring a photo into the network's input, or say why its part cannot be aligned.

        Args:
            image: uint8 (H, W, 3).
            size_hw: Height and width of the input, in pixels.

        Returns:
            The input; its image is the photo itself when it fits already. Where the part cannot be aligned, it is the
            photo stretched, on which nothing must be judged.
        """
        if self.alignment is None:
            return NetworkInput(self._whole(image, size_hw))
        found = self.alignment.align(image, size_hw)
        return NetworkInput(resize(image, size_hw) if found.image is None else found.image, found.matrix, found.problem)

    def to_input(self, image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """Bring a photo into the network's input; see `prepare`.

        Returns:
            uint8 (h, w, 3).

        Raises:
            DataError: The part on it cannot be aligned.
        """
        prepared = self.prepare(image, size_hw)
        if prepared.problem:
            raise DataError(
                f"The part on a photo cannot be aligned: {prepared.problem}.", "Take photos as in training."
            )
        return prepared.image

    def _whole(self, image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        if self.geometry == "stretch":
            return resize(image, size_hw)
        height, width = image.shape[:2]
        if self.geometry == "crop":
            top, left, height, width = self._crop(height, width, size_hw)
            return resize(image[top : top + height, left : left + width], size_hw)
        top, left, height, width = _letterbox(height, width, size_hw)
        inner = resize(image, (height, width))
        # Repeat edge pixels: a bar of one colour would make an edge that no part has.
        bars = (top, size_hw[0] - top - height, left, size_hw[1] - left - width)
        return np.asarray(cv2.copyMakeBorder(inner, *bars, cv2.BORDER_REPLICATE), np.uint8)

    def map_on_photo(
        self, anomaly_map: NDArray[np.float32], photo_hw: tuple[int, int], matrix: NDArray[np.float64] | None
    ) -> NDArray[np.float32]:
        """The part of a map that lies on the photo, so that it covers the photo as a whole when it is resized.

        Args:
            anomaly_map: float32 (h, w), of the network's input.
            photo_hw: Height and width of the photo, in pixels.
            matrix: That of the `NetworkInput` it was computed from.

        Returns:
            float32, of another size where bars are cut off (letterbox), or what the network did not see is filled with
            the map's lowest value (crop, align).
        """
        if matrix is not None:
            return unaligned(anomaly_map, matrix, photo_hw)
        if self.geometry in ("stretch", "align"):  # not aligned: nothing was judged
            return anomaly_map
        size_hw = (anomaly_map.shape[0], anomaly_map.shape[1])
        if self.geometry == "letterbox":
            top, left, height, width = _letterbox(*photo_hw, size_hw)
            return anomaly_map[top : top + height, left : left + width]
        top, left, height, width = self._crop(*photo_hw, size_hw)
        # At the map's own resolution: the photo is larger than what the network saw by these shares.
        whole = (round(size_hw[0] * photo_hw[0] / height), round(size_hw[1] * photo_hw[1] / width))
        result = np.full(whole, anomaly_map.min(), np.float32)
        row, column = round(whole[0] * top / photo_hw[0]), round(whole[1] * left / photo_hw[1])
        row, column = min(row, whole[0] - size_hw[0]), min(column, whole[1] - size_hw[1])
        result[row : row + size_hw[0], column : column + size_hw[1]] = anomaly_map
        return result

    def mask_in_input(
        self,
        mask: NDArray[np.bool_],
        photo_hw: tuple[int, int],
        matrix: NDArray[np.float64] | None,
        size_hw: tuple[int, int],
    ) -> NDArray[np.bool_]:
        """Bring a mask that was drawn on a photo into the network's input; any share of a marked pixel counts.

        Args:
            mask: bool (H', W'), at the photo's size or another scale of it.
            photo_hw: Height and width of the photo, in pixels.
            matrix: That of the photo's `NetworkInput`.
            size_hw: Height and width of the input, in pixels.

        Returns:
            bool (h, w).
        """
        values = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
        if matrix is None:
            return self._whole(values, size_hw)[..., 0] > 0
        on_mask = scaled_to(matrix, photo_hw, (mask.shape[0], mask.shape[1]))
        return warped(values, on_mask, size_hw)[..., 0] > 0

    def seen_of(self, height: int, width: int, size_hw: tuple[int, int]) -> Rectangle:
        """Top, left, height and width of the part of a photo that the network's input shows, where none is turned.

        Args:
            height: Of the photo, in pixels.
            width: Of the photo, in pixels.
            size_hw: Height and width of the input, in pixels.
        """
        return self._crop(height, width, size_hw) if self.geometry == "crop" else (0, 0, height, width)

    def _crop(self, height: int, width: int, size_hw: tuple[int, int]) -> Rectangle:
        """The middle of the photo, in the input's shape."""
        scale = self.crop_share * min(height / size_hw[0], width / size_hw[1])
        inner_h, inner_w = max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))
        inner_h, inner_w = min(inner_h, height), min(inner_w, width)
        return (height - inner_h) // 2, (width - inner_w) // 2, inner_h, inner_w

    def map_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width at which maps of all photos are compared: the input's, or the photos' shape if aligned."""
        if self.geometry != "align" or self.size_hw is None:
            return size_hw
        scale = math.sqrt(size_hw[0] * size_hw[1] / (self.size_hw[0] * self.size_hw[1]))
        return max(1, round(self.size_hw[0] * scale)), max(1, round(self.size_hw[1] * scale))

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
