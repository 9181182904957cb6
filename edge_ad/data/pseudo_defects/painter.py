"""Draws kind, place, size and opacity of a defect for each image, and blends it in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.pseudo_defects.kinds import (
    Draft,
    Site,
    cutpaste,
    last_resort,
    local_blur,
    perlin_texture,
    scar,
    scratch,
    smear,
)
from edge_ad.errors import UsageError

__all__ = ["KINDS", "PseudoDefects", "draw_centre", "foreground"]

_ON_PART = 0.9
KINDS = MappingProxyType[str, Callable[[Site], Draft]](
    {
        "perlin": perlin_texture,
        "cutpaste": cutpaste,
        "scar": scar,
        "blur": local_blur,
        "smear": smear,
        "scratch": scratch,
    }
)

_AREA_SHARE = (0.001, 0.05)
_OPACITY = (0.25, 1.0)
# Levels of 255. A pixel counts as changed from the first on; a defect as visible when its pixels change by the second.
_CHANGED = 3.0
_VISIBLE = 8.0
_ATTEMPTS = 12


def foreground(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Regions with structure, closed and filled: the part when the background is flat, else about everything.

    Args:
        image: uint8 (h, w, 3).

    Returns:
        bool (h, w); all True when nothing stands out.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    side = max(3, round(min(grey.shape) / 32) | 1)
    mean = cv2.blur(grey, (side, side))
    variance = np.maximum(cv2.blur(grey * grey, (side, side)) - mean * mean, 0.0)
    deviation = np.sqrt(variance)
    busy = (deviation > max(2.0, 0.2 * float(np.percentile(deviation, 99)))).astype(np.uint8)
    closing = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * side + 1, 2 * side + 1))
    contours, _ = cv2.findContours(
        cv2.morphologyEx(busy, cv2.MORPH_CLOSE, closing), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    # Specks of sensor noise are not a part.
    large = [contour for contour in contours if cv2.contourArea(contour) >= 0.002 * grey.size]
    filled = cv2.drawContours(np.zeros(grey.shape, np.uint8), large, -1, 1, cv2.FILLED).astype(np.bool_)
    return filled if filled.any() else np.ones(grey.shape, np.bool_)


def draw_centre(part: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int]:
    """Draw the centre of a defect: nine times of ten on the part, else anywhere.

    Returns:
        Row and column, in pixels.
    """
    if rng.random() >= _ON_PART:
        return int(rng.integers(part.shape[0])), int(rng.integers(part.shape[1]))
    pixels = np.flatnonzero(part)
    row, column = divmod(int(pixels[rng.integers(pixels.size)]), part.shape[1])
    return row, column


class PseudoDefects:
    """Paints one defect on each image, from barely visible to obvious, with an exact mask.

    Every detector finds a defect at full opacity, so it cannot tell detectors apart. Opacity is therefore drawn from
    0.25 to 1 and the area from 0.1 to 5 % of the image, and half of the kinds are subtle.

    Args:
        seed: With the index of an image, determines its defect.
        textures: Photographs for the texture kind; without them the image itself and noise are used.
        kinds: Names from `KINDS` to draw from.

    Raises:
        UsageError: An unknown kind, or none.
    """

    def __init__(
        self, seed: int, textures: Sequence[Path] | None = None, *, kinds: Sequence[str] = tuple(KINDS)
    ) -> None:
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown or not kinds:
            raise UsageError(f"Unknown kinds of pseudo-defect: {unknown}.", f"Choose from: {', '.join(KINDS)}.")
        self._seed = seed
        self._textures = tuple(textures or ())
        self._kinds = tuple(kinds)

    def apply(self, images: NDArray[np.uint8], *, first_index: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Make images defective.

        Args:
            images: uint8 (N, h, w, 3), BGR; at least 32 pixels high and wide. Not changed.
            first_index: Index of the first image, when a larger set is done in batches.

        Returns:
            The images, uint8 (N, h, w, 3), and masks, bool (N, h, w): a pixel outside the mask is untouched.

        Raises:
            UsageError: Wrong dtype or shape.
            DataError: A texture file that cannot be read.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < 32:
            raise UsageError(f"Images must be uint8 (N, h, w, 3) from 32x32 on, not {images.dtype} {images.shape}.")
        defective = np.empty_like(images)
        masks = np.empty(images.shape[:3], np.bool_)
        for offset, image in enumerate(images):
            defective[offset], masks[offset] = self._defective(image, first_index + offset)
        return defective, masks

    def _defective(self, image: NDArray[np.uint8], index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        rng = np.random.default_rng([self._seed, index])
        part = foreground(image)
        for _ in range(_ATTEMPTS):
            kind = KINDS[self._kinds[int(rng.integers(len(self._kinds)))]]
            draft = kind(self._site(image, part, rng))
            blended, mask = _blend(image, draft, float(rng.uniform(*_OPACITY)))
            if _is_visible(image, blended, mask):
                return blended, mask
        return _blend(image, last_resort(self._site(image, part, rng)), 1.0)

    def _site(self, image: NDArray[np.uint8], part: NDArray[np.bool_], rng: np.random.Generator) -> Site:
        # Log-uniform: as many defects between 0.1 and 0.2 % as between 1 and 2 %.
        share = float(np.exp(rng.uniform(*np.log(_AREA_SHARE))))
        return Site(image, draw_centre(part, rng), share * part.size, self._textures, rng)


def _blend(image: NDArray[np.uint8], draft: Draft, opacity: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    cover = (draft.cover * np.float32(opacity))[..., None]
    original = image.astype(np.float32)
    blended = np.clip(np.rint(original + cover * (draft.source - original)), 0.0, 255.0)
    changed = (np.abs(blended - original).max(axis=2) >= _CHANGED).astype(np.uint8)
    # Fill holes of the mask where source and image happen to agree.
    closed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    mask = np.asarray((closed > 0) & (draft.cover > 0))
    return np.where(mask[..., None], blended, original).astype(np.uint8), mask


def _is_visible(image: NDArray[np.uint8], blended: NDArray[np.uint8], mask: NDArray[np.bool_]) -> bool:
    if np.count_nonzero(mask) < max(4, 0.5 * _AREA_SHARE[0] * mask.size):
        return False
    return float(cv2.absdiff(image, blended).max(axis=2)[mask].mean()) >= _VISIBLE
