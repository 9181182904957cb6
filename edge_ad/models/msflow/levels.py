"""What the flows see: three levels of a frozen backbone, each pooled to half its grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models.backbones import BackboneName
from edge_ad.models.distillation.teacher import STRIDES, Teacher

__all__ = ["POOLED_STRIDES", "PooledLevels"]

POOLED_STRIDES = tuple(2 * stride for stride in STRIDES)
_SIDE = 3


class PooledLevels(Teacher):
    """Levels at strides 4, 8 and 16, averaged over 3 × 3 cells in steps of two, zeros beyond the border.

    The average is a fixed convolution: an average pool that shares its input with a quantised convolution is
    miscompiled by some OpenVINO versions. Packed, the levels lie one after the other in one vector per image: in the
    deployed graph too, where an INT8 backbone is one tensor to fit on, and that costs engines no transposition.

    Args:
        backbone: Name.
        weights: ``imagenet``, ``random`` or a path; None where a checkpoint follows.
        seed: Random weights follow from it.
        size_hw: Height and width of the images, in pixels.
    """

    def __init__(self, backbone: BackboneName, weights: str | None, seed: int, *, size_hw: tuple[int, int]) -> None:
        super().__init__(backbone, weights, seed)
        self.grids_hw = [(size_hw[0] // stride, size_hw[1] // stride) for stride in POOLED_STRIDES]
        for index, channels in enumerate(self.channels):
            kernel = torch.full((channels, 1, _SIDE, _SIDE), 1 / _SIDE**2)
            self.register_buffer(f"mean_{index}", kernel, persistent=False)

    def levels(self, images: Tensor) -> list[Tensor]:
        """Float RGB (N, 3, H, W) in [0, 1] → pooled levels (N, C, h, w) at `POOLED_STRIDES`, finest first."""
        kernels = [self.get_buffer(f"mean_{index}") for index in range(len(self.channels))]
        return [
            F.conv2d(level, kernel, stride=2, padding=_SIDE // 2, groups=len(kernel))
            for level, kernel in zip(super().levels(images), kernels, strict=True)
        ]

    def pack(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels → (N, Σ C·h·w)."""
        return torch.cat([level.flatten(1) for level in levels], 1)

    def unpack(self, packed: Tensor) -> list[Tensor]:
        """The levels that were packed."""
        shapes = [(channels, *grid) for channels, grid in zip(self.channels, self.grids_hw, strict=True)]
        parts = torch.split(packed, [math.prod(shape) for shape in shapes], 1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
