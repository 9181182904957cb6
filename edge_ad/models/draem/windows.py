"""Windows of training images: a small network learns more from many small pictures than from few large ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["windows"]


def windows(parts: Sequence[Tensor], side: int, count: int, generator: torch.Generator) -> list[Tensor]:
    """The same windows, at random places, of tensors that belong together.

    A window's middle is drawn from the whole image and the window then moved inside: were the places themselves drawn
    evenly, the outermost pixels, where products differ most, would be in one window of a hundred.

    Args:
        parts: (N, C, H, W) each; C may differ.
        side: In pixels. 0, or one that is not smaller than the images, leaves them whole, once each.
        count: Windows of each image.
        generator: On the CPU; draws the places.

    Returns:
        (N · count, C, side, side) each, the windows of an image one after the other.
    """
    images, _, height, width = parts[0].shape
    if not side or side >= min(height, width):
        return list(parts)
    places = [_places(whole, side, images * count, generator) for whole in (height, width)]
    slices = [
        (slice(index // count, index // count + 1), slice(None), slice(top, top + side), slice(left, left + side))
        for index, (top, left) in enumerate(torch.stack(places, 1).tolist())
    ]
    return [torch.cat([part[where] for where in slices]) for part in parts]


def _places(whole: int, side: int, count: int, generator: torch.Generator) -> Tensor:
    """Where windows begin along one axis, (count,)."""
    middles = torch.randint(whole, (count,), generator=generator)
    return (middles - side // 2).clamp(0, whole - side)
