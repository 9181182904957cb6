"""Visual obfuscation: the mosaic hint of EAR."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["mosaic", "obfuscate"]


def mosaic(images: Tensor, scale: int) -> Tensor:
    """Average-pool by ``scale`` and upsample back by repetition: (N, C, H, W) → the same shape."""
    return F.interpolate(F.avg_pool2d(images, scale), scale_factor=float(scale), mode="nearest")


def obfuscate(images: Tensor, mask: Tensor, scale: int) -> Tensor:
    """EAR's input ``I' = (1 - M)·I + M·mosaic(I, m)``.

    Args:
        images: (N, 3, H, W) in [0, 1].
        mask: (N, 1, H, W) in [0, 1]; 1 hides the pixel behind its mosaic.
        scale: Side of a mosaic tile, pixels; must divide H and W.
    """
    return images + mask * (mosaic(images, scale) - images)
