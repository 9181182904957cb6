"""Patch features: pooled patches of backbone levels on one grid (PatchCore, SimpleNet, PaDiM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.backbones import BackboneName, create_backbone

__all__ = ["PatchFeatures", "pool_patches", "pooling_kernel"]


def pooling_kernel(channels: int, width: int, neighbourhood: int) -> Tensor:
    """Kernel of the convolution that pools patches of a level to a width.

    Output j is the mean of the flattened values ``floor(j·L / width)`` to ``ceil((j + 1)·L / width)``, with
    ``L = channels · neighbourhood²``. It falls into as many groups as channels and width have in common; with
    ``width == channels`` it is the average of each channel.

    Args:
        channels: Of the level.
        width: Channels to pool to.
        neighbourhood: Side of a patch, odd.

    Returns:
        float64 (width, channels / groups, neighbourhood, neighbourhood).
    """
    groups = math.gcd(channels, width)
    outputs, length = width // groups, channels // groups * neighbourhood**2
    rows = torch.zeros(outputs, length, dtype=torch.float64)
    for row, values in enumerate(rows):
        start, end = row * length // outputs, -(-(row + 1) * length // outputs)
        values[start:end] = 1 / (end - start)
    return rows.reshape(outputs, -1, neighbourhood, neighbourhood).repeat(groups, 1, 1, 1)


def pool_patches(level: Tensor, kernel: Tensor) -> Tensor:
    """A level (N, C, h, w) as pooled patches (N, width, h, w); zeros lie beyond the border, as in the papers."""
    return F.conv2d(level, kernel, padding=kernel.shape[2] // 2, groups=level.shape[1] // kernel.shape[1])


class PatchFeatures(nn.Module):
    """Frozen backbone → patch features.

    Each level is averaged over square neighbourhoods, coarser levels are upsampled bilinearly to the finest, and all
    are concatenated. The average is a fixed grouped convolution: an average pool that shares its input with a
    quantised convolution is miscompiled by some OpenVINO versions.

    Args:
        levels: Strides of the backbone, ascending; the first sets the grid.
        neighbourhood: Side of the square that each level is averaged over, odd.
        pretrained: Load weights (False where a checkpoint follows, and for tests of shapes and export).
        backbone: Name of the backbone.
        weights: ``imagenet``, ``random`` (untrained), or the path of a state dict in its authors' names.
        embedding: Channels that the patches of each level are pooled to; 0 keeps its own.
        seed: Random weights follow from it.
    """

    def __init__(
        self,
        levels: tuple[int, ...] = (8, 16),
        *,
        neighbourhood: int = 3,
        pretrained: bool = True,
        backbone: BackboneName = "efficientnet-lite0",
        weights: str = "imagenet",
        embedding: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = create_backbone(backbone, levels, weights=weights if pretrained else None, seed=seed)
        self.channels, self.stride = 0, levels[0]
        for level in levels:
            own = self.network.channels_of(level)
            kernel = pooling_kernel(own, embedding or own, neighbourhood)
            self.register_buffer(f"average_{level}", kernel.float())
            self.channels += len(kernel)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Float RGB (N, 3, H, W) in [0, 1] → features (N, C, H / stride, W / stride)."""
        levels = zip(self.network.levels, self.network(images), strict=True)
        pooled = [pool_patches(level, self.get_buffer(f"average_{stride}")) for stride, level in levels]
        size = pooled[0].shape[2:]
        rest = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in pooled[1:]]
        return torch.cat([pooled[0], *rest], dim=1)
