"""What a kind of pseudo-defect is told, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draft", "Site"]


@dataclass(frozen=True)
class Site:
    """Where and how large a defect is to be.

    Attributes:
        image: uint8 (h, w, 3) BGR, the good image.
        centre_yx: Centre of the defect, in pixels.
        area: Wanted area, in pixels.
        textures: Photographs to take texture from; may be empty.
        rng: The only source of chance.
    """

    image: NDArray[np.uint8]
    centre_yx: tuple[int, int]
    area: float
    textures: Sequence[Path]
    rng: np.random.Generator

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the image, in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def scale(self) -> float:
        """How much longer the image's mean side is than 256 pixels."""
        return float(np.sqrt(self.image.shape[0] * self.image.shape[1])) / 256.0


@dataclass(frozen=True)
class Draft:
    """A defect before it is blended in.

    Attributes:
        cover: float32 (h, w) in [0, 1]: how much of the source shows; 0 outside the defect.
        source: float32 (h, w, 3) in [0, 255]: what the defect looks like.
    """

    cover: NDArray[np.float32]
    source: NDArray[np.float32]
