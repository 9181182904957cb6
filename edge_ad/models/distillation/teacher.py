"""The frozen network whose levels the student gives back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.backbones import BackboneName, create_backbone

__all__ = ["STRIDES", "Teacher"]

STRIDES = (4, 8, 16)


class Teacher(nn.Module):
    """Three levels of a frozen backbone, and their form as one tensor, which is what a cache of features keeps.

    Args:
        backbone: Name.
        weights: ``imagenet``, ``random`` or a path; None where a checkpoint follows.
        seed: Random weights follow from it.
    """

    def __init__(self, backbone: BackboneName, weights: str | None, seed: int) -> None:
        super().__init__()
        self.network = create_backbone(backbone, STRIDES, weights=weights, seed=seed)
        self.channels = tuple(self.network.channels_of(stride) for stride in STRIDES)
        self.eval().requires_grad_(False)

    def levels(self, images: Tensor) -> list[Tensor]:
        """Float RGB (N, 3, H, W) in [0, 1] → levels (N, C, H / stride, W / stride), finest first."""
        levels: list[Tensor] = self.network(images)
        return levels

    def unmatched_levels(self, images: Tensor) -> list[Tensor]:
        """The levels as the student learns them, whatever is matched when it is deployed."""
        return self.levels(images)

    def forward(self, images: Tensor) -> Tensor:
        """The levels that the student learns, packed."""
        return self.pack(self.unmatched_levels(images))

    def pack(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels → (N, Σ C·(16 / stride)², H / 16, W / 16): the cells of finer ones lie in the channels."""
        return torch.cat([F.pixel_unshuffle(x, STRIDES[-1] // s) for x, s in zip(levels, STRIDES, strict=True)], 1)

    def unpack(self, packed: Tensor) -> list[Tensor]:
        """The levels that were packed."""
        factors = [STRIDES[-1] // stride for stride in STRIDES]
        parts = torch.split(packed, [c * f**2 for c, f in zip(self.channels, factors, strict=True)], 1)
        return [F.pixel_shuffle(part, factor) for part, factor in zip(parts, factors, strict=True)]
