"""Colour jitter: brightness, contrast, saturation and hue of each image, by one matrix and one offset."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["jitter_colour"]

_THIRD = 1 / 3
_ROOT = 1 / math.sqrt(3)


def jitter_colour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change the colours of each image a little.

    Saturation and hue stretch and turn colours about the grey axis; contrast keeps the image's mean grey.

    Args:
        images: (N, 3, H, W) in [0, 1].
        strength: Largest relative change of brightness, contrast and saturation, and of hue in turns; 0 for none.
        generator: On the CPU.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    if not strength:
        return images
    draws = (torch.rand(4, len(images), generator=generator) * 2 - 1) * strength
    brightness, contrast, saturation, hue = draws.to(images)[..., None, None]
    turn = 2 * math.pi * hue
    grey = images.new_full((3, 3), _THIRD)
    chroma = torch.eye(3, device=images.device, dtype=images.dtype) - grey
    across = images.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * _ROOT
    matrix = grey + (1 + saturation) * (turn.cos() * chroma + turn.sin() * across)
    coloured = torch.einsum("nij,njhw->nihw", matrix, images)
    mean = images.mean((1, 2, 3), keepdim=True)
    contrasted = mean + (1 + contrast[..., None]) * (coloured - mean)
    brightened: Tensor = (1 + brightness[..., None]) * contrasted
    return brightened.clamp(0, 1)
