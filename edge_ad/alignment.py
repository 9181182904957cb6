"""Turn a part that lies at any angle on plain ground upright, and cut it out: one affine map from photo to input."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.document import Document
from edge_ad.part_position import MASK_SIDE, PartPosition, find_part
from edge_ad.resizing import halved

__all__ = ["OTHER_LENGTH", "Aligned", "Alignment", "part_on", "scaled_to", "unaligned", "warped"]

OTHER_LENGTH = "part of another length"
"""What stands out is longer or shorter than the parts that were trained on."""


class Alignment(Document):
    """The box that is cut out around a part, beside its principal axis; the axis runs from left to right in it.

    Lengths are shares of the photo's longer side.

    Attributes:
        along: Where the box begins and ends along the axis, from the part's centre of area: (negative, positive).
        across: Likewise across it.
        length: Least and greatest length of a part along its axis; another one is not judged.
    """

    along: tuple[float, float]
    across: tuple[float, float]
    length: tuple[float, float]

    @property
    def aspect(self) -> float:
        """Width over height of the box."""
        return (self.along[1] - self.along[0]) / (self.across[1] - self.across[0])

    def problem(self, part: PartPosition, photo_hw: tuple[int, int]) -> str:
        """Why a part cannot be judged, in words; empty where it can."""
        low, high = self.length
        if part.problem or low <= part.length / max(photo_hw) <= high:
            return part.problem
        return OTHER_LENGTH

    def matrix(self, part: PartPosition, photo_hw: tuple[int, int], size_hw: tuple[int, int]) -> NDArray[np.float64]:
        """Affine map (2, 3) from pixels (x, y) of the input to those of the photo; the box is grown to its shape.

        Args:
            part: Where the part lies.
            photo_hw: Height and width of the photo, in pixels.
            size_hw: Of the input.
        """
        longer = max(photo_hw)
        length, breadth = ((high - low) * longer for low, high in (self.along, self.across))
        scale = max(length / size_hw[1], breadth / size_hw[0])
        x, y = math.cos(part.angle) * scale, math.sin(part.angle) * scale
        middle = [(low + high) / 2 * longer / scale for low, high in (self.along, self.across)]
        # The middle of the input, (w - 1) / 2 and (h - 1) / 2, lies on the middle of the box.
        right, down = middle[0] - (size_hw[1] - 1) / 2, middle[1] - (size_hw[0] - 1) / 2
        centre = part.centre_xy
        return np.array([
            [x, -y, centre[0] + x * right - y * down],
            [y, x, centre[1] + y * right + x * down],
        ])  # fmt: skip

    def align(self, image: NDArray[np.uint8], size_hw: tuple[int, int]) -> Aligned:
        """Find the part on a photo, turn it and cut it out.

        Args:
            image: uint8 (H, W, 3).
            size_hw: Height and width of the result, in pixels.
        """
        photo_hw = image.shape[0], image.shape[1]
        part = part_on(image)
        if problem := self.problem(part, photo_hw):
            return Aligned(None, None, problem)
        matrix = self.matrix(part, photo_hw, size_hw)
        return Aligned(warped(image, matrix, size_hw), matrix, "")


class Aligned(NamedTuple):
    """What came of the alignment of a photo.

    Attributes:
        image: uint8 (h, w, 3); None where the part could not be found.
        matrix: Affine map (2, 3) from pixels of the image to those of the photo; None likewise.
        problem: Why not; empty where it was found.
    """

    image: NDArray[np.uint8] | None
    matrix: NDArray[np.float64] | None
    problem: str


def part_on(image: NDArray[np.uint8]) -> PartPosition:
    """Where a part lies on a photo, uint8 (H, W, 3), whatever its length."""
    photo_hw = image.shape[0], image.shape[1]
    scale = min(1.0, MASK_SIDE / max(photo_hw))
    height, width = (max(1, round(side * scale)) for side in photo_hw)
    small = image
    if scale < 0.5:  # four pixels for each of twice the size: the mean of sixteen is enough to tell a part from ground
        small = np.asarray(cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return find_part(np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA), np.uint8), photo_hw)


def warped(image: NDArray[np.uint8], matrix: NDArray[np.float64], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Sample a photo, halved until a pixel of the input covers less than two of it: none is skipped.

    Args:
        image: uint8 (H, W, 3).
        matrix: Affine map (2, 3) from pixels of the result to those of the photo.
        size_hw: Height and width of the result, in pixels.
    """
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    level = halved(image, max(0, math.floor(math.log2(scale))))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    on_level = scaled_to(matrix, (image.shape[0], image.shape[1]), (level.shape[0], level.shape[1]))
    warped = cv2.warpAffine(level, on_level, size_hw[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def scaled_to(matrix: NDArray[np.float64], photo_hw: tuple[int, int], other_hw: tuple[int, int]) -> NDArray[np.float64]:
    """A map (2, 3) into pixels of a photo as one into pixels of the photo at another height and width."""
    across, down = other_hw[1] / photo_hw[1], other_hw[0] / photo_hw[0]
    scaled = np.diag([across, down]) @ matrix
    scaled[:, 2] += (across - 1) / 2, (down - 1) / 2  # a pixel's centre lies at its whole number
    return np.asarray(scaled)


def unaligned(
    anomaly_map: NDArray[np.float32], matrix: NDArray[np.float64], photo_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """Bring a map of an aligned input back onto its photo; beside the input lies the map's lowest value.

    Args:
        anomaly_map: float32 (h, w).
        matrix: As `Aligned` has it.
        photo_hw: Height and width of the photo, in pixels.

    Returns:
        float32 (H', W') that covers the photo as a whole, at the map's resolution or the photo's, whichever is lower;
        the highest value is kept.
    """
    scale = max(1.0, math.hypot(matrix[0, 0], matrix[1, 0]))
    whole_hw = max(1, round(photo_hw[0] / scale)), max(1, round(photo_hw[1] / scale))
    to_whole = scaled_to(matrix, photo_hw, whole_hw)
    height, width = anomaly_map.shape
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]]) @ to_whole.T
    left, top = np.clip(np.floor(corners.min(0)).astype(int), 0, (whole_hw[1] - 1, whole_hw[0] - 1))
    right, bottom = np.clip(np.ceil(corners.max(0)).astype(int) + 1, (left + 1, top + 1), (whole_hw[1], whole_hw[0]))
    lowest, highest = float(anomaly_map.min()), float(anomaly_map.max())
    on_box = to_whole.copy()
    on_box[:, 2] -= left, top
    box = cv2.warpAffine(anomaly_map, on_box, (right - left, bottom - top), flags=cv2.INTER_LINEAR, borderValue=lowest)
    result = np.full(whole_hw, lowest, np.float32)
    result[top:bottom, left:right] = box
    y, x = divmod(int(anomaly_map.argmax()), width)
    column, row = np.rint(to_whole @ (x, y, 1)).astype(int)
    if 0 <= row < whole_hw[0] and 0 <= column < whole_hw[1]:
        result[row, column] = highest
    return result
