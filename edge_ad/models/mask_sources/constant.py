"""Masks that do not look at the image: the mosaic everywhere, or nowhere."""

from __future__ import annotations

import torch
from torch import Tensor

from edge_ad.models.mask_sources.base import MaskSource

__all__ = ["ConstantMask"]


class ConstantMask(MaskSource):
    """The same mask for every image.

    Args:
        value: 1.0 hides everything (``full``), 0.0 nothing (``none``).
        stride: Pixels per patch.
    """

    def __init__(self, value: float, stride: int = 8) -> None:
        super().__init__()
        self.value, self.stride = value, stride

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, 3, H, W) → (N, 1, H / stride, W / stride), all ``value``."""
        height, width = images.shape[2] // self.stride, images.shape[3] // self.stride
        return torch.full((1, 1, height, width), self.value, device=images.device).expand(images.shape[0], -1, -1, -1)

    def binary(self, suspicion: Tensor) -> Tensor:
        """The suspicion itself."""
        return suspicion
