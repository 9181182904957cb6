"""The two other views of a photo that GNL and FiCo learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from edge_ad.data.augmix import augmix

__all__ = ["augmix_view", "grey_view"]

_LUMA = (0.2989, 0.587, 0.114)  # of R, G and B, as torchvision has them


@torch.no_grad()
def augmix_view(images: Tensor, generator: torch.Generator) -> Tensor:
    """AugMix of each image.

    Args:
        images: RGB (N, 3, H, W) in [0, 1], of 256 levels.
        generator: On the CPU; everything follows from it.

    Returns:
        float32 RGB (N, 3, H, W) in [0, 1].
    """
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    photos = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).flip(3).cpu().contiguous().numpy()
    views = torch.from_numpy(np.stack([augmix(photo, rng) for photo in photos]))
    return (views.flip(3).permute(0, 3, 1, 2) / 255).to(images.device)


def grey_view(images: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """What the teacher sees where its normalised input is made grey, as the authors' code does it.

    Args:
        images: RGB (N, 3, H, W) in [0, 1].
        mean: Of each channel, which the teacher subtracts.
        deviation: Of each channel, which it divides by.

    Returns:
        (N, 3, H, W), the same in all channels once it is normalised; it may leave [0, 1] a little.
    """
    offsets, scales, luma = (torch.tensor(x, device=images.device)[:, None, None] for x in (mean, deviation, _LUMA))
    grey = (luma * (images - offsets) / scales).sum(1, keepdim=True)
    return grey * scales + offsets
