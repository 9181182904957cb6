"""The distance of ``patch-metric`` as engines compute it: every direction of a position is read once.

As it is trained, features are first standardised by the Gaussian of their position and then go through the metric,
``d = |M y|``: the directions of the position are multiplied with twice, and M once more. In the terms of
``mapped_gaussian`` it is a quadratic form of low rank beside the identity:

    d² = |m - P Tᵀ m|² = |m|² - mᵀ S m,    S = T Pᵀ + P Tᵀ - T Pᵀ P Tᵀ = V diag(λ) Vᵀ,

with at most twice as many directions as the position has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_ad.models.discriminators.metric import TINY, Metric
from edge_ad.models.gaussian import PositionGaussian, vectors_by_position
from edge_ad.models.mapped_gaussian import joint_matrix, mapped_directions

__all__ = ["MetricDistance"]

_POSITIONS_AT_ONCE = 128  # bounds the memory of the decomposition


class MetricDistance(nn.Module):
    """``|M S_p^(-1/2) (x - μ_p)|`` by one matrix for all positions and one set of directions for each.

    Args:
        gaussian: Fitted.
        metric: Learned; its matrix is invertible.
    """

    def __init__(self, gaussian: PositionGaussian, metric: Metric) -> None:
        super().__init__()
        matrix = metric.weight.detach().double()
        directions, signs = _quadratic_form(matrix, gaussian.get_buffer("directions"))
        self.register_buffer("mean", gaussian.get_buffer("mean").clone())
        self.register_buffer("matrix", joint_matrix(gaussian, matrix))
        self.register_buffer("directions", directions)
        self.register_buffer("signs", signs)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → distances (N, P)."""
        vectors = vectors_by_position(features, self.get_buffer("mean"), self.get_buffer("matrix"))
        along = torch.matmul(vectors.transpose(0, 1), self.get_buffer("directions"))  # (P, N, K)
        removed = (along.square() * self.get_buffer("signs")).sum(2).transpose(0, 1)
        return ((vectors.square().sum(2) - removed).clamp_min(0) + TINY).sqrt()


def _quadratic_form(matrix: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """V·sqrt|λ| (P, C, K) and the signs of λ (P, 1, K), K = min(C, 2·rank), float32, for A (P, C, rank)."""
    parts = [_decomposed(matrix, part.double()) for part in torch.split(directions, _POSITIONS_AT_ONCE)]
    values, vectors = (torch.cat(part) for part in zip(*parts, strict=True))
    return (vectors * values.abs().sqrt()[:, None]).float(), values.sign()[:, None].float()


def _decomposed(matrix: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """λ (P, K) ascending and V (P, C, K) of S, by way of the space that T and P span."""
    taken, given = mapped_directions(matrix, directions)
    across = given.transpose(1, 2) @ given
    one = torch.eye(across.shape[2], dtype=across.dtype).expand_as(across)
    form = torch.cat([torch.cat([-across, one], 2), torch.cat([one, torch.zeros_like(one)], 2)], 1)
    basis, inside = torch.linalg.qr(torch.cat([taken, given], 2))
    values, vectors = torch.linalg.eigh(inside @ form @ inside.transpose(1, 2))
    return values, basis @ vectors
