"""The anomaly simulation of DRAEM (Zavrtanik et al., 2021).

``I_a = (1 − M)·I + (1 − β)·M·I + β·M·A``: texture A under three augmentations, behind a mask M of thresholded Perlin
noise, at opacity β. Half of the samples stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.simulated_defects.augmentations import augment
from edge_ad.data.simulated_defects.textures import perlin_noise, photographed_texture, rendered_texture

__all__ = [
    "BLENDED_TEXTURES",
    "DefectSimulator",
    "Fill",
    "Opacity",
    "SimulatedDefect",
    "Simulator",
    "draw_opacity",
    "is_grey",
    "perlin_mask",
]

BLENDED_TEXTURES = "draem"
"""Name of the defects that DRAEM's authors simulate: a texture, blended in behind a Perlin mask."""

Opacity = Literal["code", "slide"]
Fill = Literal["texture", "colour", "nothing"]

_FINEST_SCALE = 5  # 2^5 = 32 lattice cells along an axis
_THRESHOLD = 0.5
_UNIT_RANGE = np.float32(np.sqrt(2.0))  # brings noise of unit gradients to about [-1, 1]
_ATTEMPTS = 20

_Pixel = TypeVar("_Pixel", bound=np.generic)


class SimulatedDefect(NamedTuple):
    """One sample.

    Attributes:
        good: uint8 (h, w, 3), BGR: the image, turned where that was asked for.
        defective: uint8 (h, w, 3), BGR: the same with a defect; equal to ``good`` outside the mask.
        mask: bool (h, w), True where the defect is, or is to be made; all False for a clean sample.
    """

    good: NDArray[np.uint8]
    defective: NDArray[np.uint8]
    mask: NDArray[np.bool_]


class Simulator(Protocol):
    """Makes training samples from good images; picklable, and determined by image and key."""

    def sample(self, image: NDArray[np.uint8], key: Sequence[int]) -> SimulatedDefect:
        """A sample of an image, uint8 (h, w, 3) BGR; the key tells stage, epoch and index of the image."""


@dataclass(frozen=True)
class DefectSimulator:
    """DRAEM's simulation.

    A grey image, whose three channels are equal, gets grey defects: its camera cannot see colour, and a network that
    could detect defects by their colour would learn little else.

    Attributes:
        seed: With the key of a sample, determines everything.
        photos: Photographs of textures; without them textures are rendered.
        opacity: Range of β: ``slide`` [0.1, 1]; ``code`` keeps [0, 0.8) of the image, so β is in (0.2, 1].
        clean_share: Share of the samples that stay clean, in [0, 1].
        rotation: Images are turned by up to this many degrees, either way, mirrored beyond their border.
        rotation_share: Share of the images that are turned, in [0, 1].
        fill: What shows behind the mask: a ``texture``, one ``colour`` as DSR has it, or ``nothing``, where only the
            mask is wanted and the image stays good.
    """

    seed: int
    photos: tuple[Path, ...] = ()
    opacity: Opacity = "code"
    clean_share: float = 0.5
    rotation: float = 0.0
    rotation_share: float = 1.0
    fill: Fill = "texture"

    def sample(self, image: NDArray[np.uint8], key: Sequence[int]) -> SimulatedDefect:
        """A sample of an image.

        Args:
            image: uint8 (h, w, 3), BGR. Not changed.
            key: Such as stage, epoch and index of the image; another key is another sample.

        Raises:
            DataError: A photograph cannot be read.
        """
        rng = np.random.default_rng([self.seed, *key])
        is_turned = bool(self.rotation) and (self.rotation_share == 1 or rng.random() < self.rotation_share)
        good = _turned(image, rng, self.rotation) if is_turned else image
        size_hw = (good.shape[0], good.shape[1])
        if rng.random() < self.clean_share:
            return SimulatedDefect(good, good, np.zeros(size_hw, np.bool_))
        mask = perlin_mask(size_hw, rng)
        if self.fill == "nothing":
            return SimulatedDefect(good, good, mask)
        texture = self._texture(size_hw, rng) if self.fill == "texture" else _colour(size_hw, rng)
        if is_grey(good):
            texture = _grey(texture)
        return SimulatedDefect(good, _blend(good, texture, mask, draw_opacity(self.opacity, rng)), mask)

    def _texture(self, size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
        source = photographed_texture(self.photos, size_hw, rng) if self.photos else rendered_texture(size_hw, rng)
        return augment(source, rng)


def perlin_mask(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where turned Perlin noise of 2^0 to 2^5 cells along each axis is above 0.5.

    Coarse noise often stays below the threshold: it is drawn again, so that just the share asked for stays clean.

    Returns:
        bool (h, w), with at least one pixel.
    """
    for _ in range(_ATTEMPTS):
        cells = rng.integers(0, _FINEST_SCALE + 1, 2)
        noise = perlin_noise(size_hw, (1 << int(cells[0]), 1 << int(cells[1])), rng) * _UNIT_RANGE
        mask = _rotated(noise, float(rng.uniform(-90.0, 90.0)), cv2.BORDER_CONSTANT) > _THRESHOLD
        if mask.any():
            return np.asarray(mask, np.bool_)
    return np.asarray(noise == noise.max(), np.bool_)


def draw_opacity(opacity: Opacity, rng: np.random.Generator) -> float:
    """β: how much of the texture shows."""
    return float(rng.uniform(0.1, 1.0)) if opacity == "slide" else 1.0 - float(rng.uniform(0.0, 0.8))


def _blend(
    good: NDArray[np.uint8], texture: NDArray[np.uint8], mask: NDArray[np.bool_], opacity: float
) -> NDArray[np.uint8]:
    defective = good.copy()
    inside = good[mask].astype(np.float32)
    defective[mask] = np.rint(inside + np.float32(opacity) * (texture[mask].astype(np.float32) - inside))
    return defective


def is_grey(image: NDArray[np.uint8]) -> bool:
    """Whether the three channels of an image, uint8 (h, w, 3), are the same."""
    return bool((image == image[..., :1]).all())


def _colour(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    return np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (*size_hw, 3))


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def _turned(image: NDArray[np.uint8], rng: np.random.Generator, degrees: float) -> NDArray[np.uint8]:
    return _rotated(image, float(rng.uniform(-degrees, degrees)), cv2.BORDER_REFLECT_101)


def _rotated(pixels: NDArray[_Pixel], degrees: float, border: int) -> NDArray[_Pixel]:
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    turned = cv2.warpAffine(np.ascontiguousarray(pixels), matrix, (width, height), borderMode=border)
    return np.asarray(turned, pixels.dtype)
