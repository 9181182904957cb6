"""One part under the camera, with or without a defect; all variation is drawn from one seed."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.sample_product.defects import SHAPE_DEFECTS, SURFACE_DEFECTS
from edge_ad.data.sample_product.drawing import Outline, flange
from edge_ad.data.sample_product.surface import Light, Pose, Surface, belt, machine, photograph
from edge_ad.data.sample_product.variation import ink_dot

__all__ = ["Scene"]

_NOTICEABLE = 6.0  # levels of 255: pixels that differ by more from the good part belong to the defect
_AREA_SHARE = (0.001, 0.03)
_ATTEMPTS = 20


class Scene:
    """One part under the camera.

    Args:
        key: Seeds; the same key gives the same photo.
        size_hw: Height and width, in pixels.
        has_dot: Whether the part has the dot of ink that a supplier sets on good parts.
    """

    def __init__(self, key: Sequence[int], size_hw: tuple[int, int], *, has_dot: bool = False) -> None:
        self._key, self._has_dot = tuple(key), has_dot
        rng = self._rng(0)
        self._light, self._pose = Light.draw(rng), Pose.draw(rng)
        self._belt = belt(size_hw, rng)
        self._outline = flange(size_hw)

    def good(self) -> NDArray[np.float32]:
        """The photo of the good part, float32 (h, w, 3) BGR in [0, 255], without the sensor's noise."""
        return self._photo(self._outline)

    def defective(self, kind: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The photo of the same part with a defect.

        Args:
            kind: One of `DEFECT_KINDS`.

        Returns:
            The photo, float32 (h, w, 3) BGR, and the mask, bool (h, w): where it differs noticeably from the good
            part, 0.1 to 3 % of the image.
        """
        good = self.good()
        for attempt in range(_ATTEMPTS):  # a defect may fall where it does not show, such as on the dark belt
            photo = self._with_defect(kind, self._rng(2, attempt))
            mask = _noticeable(good, photo)
            if _AREA_SHARE[0] <= mask.mean() <= _AREA_SHARE[1]:
                break
        return photo, mask

    def _with_defect(self, kind: str, rng: np.random.Generator) -> NDArray[np.float32]:
        if kind in SHAPE_DEFECTS:
            return self._photo(SHAPE_DEFECTS[kind](self._outline, rng))
        surface = self._machined(self._outline)
        SURFACE_DEFECTS[kind](self._outline, surface, rng)
        return photograph(surface, self._belt, self._light, self._pose)

    def _photo(self, outline: Outline) -> NDArray[np.float32]:
        return photograph(self._machined(outline), self._belt, self._light, self._pose)

    def _machined(self, outline: Outline) -> Surface:
        surface = machine(outline, self._rng(1))
        if self._has_dot:
            ink_dot(outline, surface, self._rng(3))
        return surface

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self._key, *purpose])


def _noticeable(good: NDArray[np.float32], photo: NDArray[np.float32]) -> NDArray[np.bool_]:
    changed = (np.abs(photo - good).max(axis=2) > _NOTICEABLE).astype(np.uint8)
    # Where a dent's bright wall turns into its dark one, a line of pixels has not changed: it belongs to the dent.
    return np.asarray(cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.bool_)
