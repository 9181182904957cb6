"""Greedy k-centres with most distances left out by the triangle inequality; for anomalib's environment and ours."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["farthest_first"]

_SLACK = 0.999  # rounding must not rule out a centre that is nearer


def farthest_first(vectors: Tensor, first: int, count: int) -> Tensor:
    """Choose rows, each the farthest from all before it (Gonzalez, 1985); what anomalib's coreset chooses.

    A new centre b is nearer to x than its centre a only where d(x, a) > d(a, b) / 2: other distances are not computed.

    Args:
        vectors: float32 (P, C).
        first: Row of the first centre.
        count: Centres, at most P.

    Returns:
        Rows, int64 (count,).
    """
    centres = vectors.new_empty(count, vectors.shape[1])
    centres[0] = vectors[first]
    chosen = torch.full((count,), first)
    nearest = _distances(vectors, vectors[first])
    owner = torch.zeros(len(vectors), dtype=torch.int64)
    for index in range(1, count):
        newest = nearest.argmax()
        chosen[index], centre = newest, vectors[newest]
        apart = _distances(centres[:index], centre)
        rows = (nearest > apart[owner] * (_SLACK / 2)).nonzero().squeeze(1)
        distances = (
            _distances(vectors[rows], centre) if 4 * len(rows) < len(vectors) else _distances(vectors, centre)[rows]
        )
        is_nearer = distances < nearest[rows]
        nearest[rows[is_nearer]], owner[rows[is_nearer]] = distances[is_nearer], index
        nearest[newest], owner[newest] = 0.0, index
        centres[index] = centre
    return chosen


def _distances(vectors: Tensor, centre: Tensor) -> Tensor:
    """Euclidean, (P,); without a copy of the vectors, and without the rounding of squares that cancel."""
    return torch.cdist(vectors, centre[None], compute_mode="donot_use_mm_for_euclid_dist").squeeze(1)
