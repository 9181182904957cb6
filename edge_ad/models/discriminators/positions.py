"""Which patches of a batch one step looks at."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["draw_positions"]


def draw_positions(images: int, positions: int, share: float, generator: torch.Generator) -> Tensor:
    """Another random subset of the positions for each image.

    Args:
        images: N.
        positions: P, positions of an image.
        share: Share of them, in (0, 1].
        generator: Of the draw.

    Returns:
        int64 (N, M), M = share · P, at least 1; no position twice for an image.
    """
    order = torch.rand(images, positions, generator=generator).argsort(1)
    return order[:, : max(1, round(share * positions))]
