"""Which patches of a batch one step looks at."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["draw_positions", "gather_positions"]


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
    drawn = torch.rand(images, positions, generator=generator)
    return drawn.topk(max(1, round(share * positions)), dim=1, largest=False).indices  # cheaper than sorting all


def gather_positions(vectors: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw positions and take what is there.

    Args:
        vectors: (N, P, C).
        share: As in ``draw_positions``.
        generator: Of the draw.

    Returns:
        The positions (N, M) and the vectors (N, M, C).
    """
    images, positions, channels = vectors.shape
    chosen = draw_positions(images, positions, share, generator).to(vectors.device)
    flat = chosen + positions * torch.arange(images, device=vectors.device)[:, None]
    return chosen, vectors.reshape(-1, channels).index_select(0, flat.flatten()).reshape(*chosen.shape, channels)
