"""Patch features: neighbourhood-averaged backbone levels on one grid (PatchCore, SimpleNet, PaDiM)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.efficientnet import LEVEL_CHANNELS, EfficientNetLite0, imagenet_weights

__all__ = ["PatchFeatures"]


class PatchFeatures(nn.Module):
    """Frozen backbone → patch features.

    Each level is averaged over square neighbourhoods, coarser levels are upsampled bilinearly to the finest, and all
    are concatenated. The average is a fixed depthwise convolution: an average pool that shares its input with a
    quantised convolution is miscompiled by some OpenVINO versions.

    Args:
        levels: Strides of the backbone, ascending; the first sets the grid.
        neighbourhood: Side of the square that each level is averaged over, odd.
        pretrained: Load the ImageNet weights (False only for tests of shapes and export).
    """

    def __init__(self, levels: tuple[int, ...] = (8, 16), *, neighbourhood: int = 3, pretrained: bool = True) -> None:
        super().__init__()
        self.neighbourhood = neighbourhood
        self.network = EfficientNetLite0(levels)
        if pretrained:
            self.network.load_imagenet(imagenet_weights())
        self.channels = sum(LEVEL_CHANNELS[level] for level in levels)
        self.stride = levels[0]
        kernel = torch.full((1, 1, neighbourhood, neighbourhood), 1 / neighbourhood**2)
        for level in levels:
            self.register_buffer(f"average_{level}", kernel.repeat(LEVEL_CHANNELS[level], 1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Float RGB (N, 3, H, W) in [0, 1] → features (N, C, H / stride, W / stride)."""
        levels = self.network(images)
        size = levels[0].shape[2:]
        pooled = [self._average(level, stride) for level, stride in zip(levels, self.network.levels, strict=True)]
        rest = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in pooled[1:]]
        return torch.cat([pooled[0], *rest], dim=1)

    def _average(self, level: Tensor, stride: int) -> Tensor:
        kernel = self.get_buffer(f"average_{stride}")
        return F.conv2d(level, kernel, padding=self.neighbourhood // 2, groups=level.shape[1])
