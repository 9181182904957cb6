"""The distance of ``patch-metric`` as engines compute it: every direction of a position is read once.

As it is trained, features are first standardised by the Gaussian of their position and then go through the metric,
``d = |M y|``: the directions A of the position are multiplied with twice, and M once more. In m = M z, with z whitened
and T = M⁻ᵀ A, P = M A, b = 1 / (1 + sqrt(1 - g)), it is a quadratic form of low rank beside the identity:

    k · d² = |m - P b Tᵀ m|² = |m|² - mᵀ S m,    S = T b Pᵀ + P b Tᵀ - T b Pᵀ P b Tᵀ = V diag(λ) Vᵀ,

with at most twice as many directions as A has. ``M W / sqrt(k)`` is one matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.discriminators.metric import TINY, Metric
from edge_ad.models.gaussian import PositionGaussian

__all__ = ["MetricDistance"]

_POSITIONS_AT_ONCE = 128  # bounds the memory of the decomposition
_MOST_CONDITION = 100.0  # of M; learned ones lie below 15


class MetricDistance(nn.Module):
    """``|M S_p^(-1/2) (x - μ_p)|`` by one matrix for all positions and one set of directions for each.

    Args:
        gaussian: Fitted.
        metric: Learned; see ``fits``.
    """

    def __init__(self, gaussian: PositionGaussian, metric: Metric) -> None:
        super().__init__()
        matrix, shrinkage = metric.weight.detach().double(), gaussian.shrinkage
        whiten = gaussian.get_buffer("whiten").double()[:, :, 0, 0]
        directions, signs = _quadratic_form(matrix, gaussian.get_buffer("directions"))
        self.register_buffer("mean", gaussian.get_buffer("mean").clone())
        self.register_buffer("matrix", (matrix @ whiten / shrinkage**0.5).float()[:, :, None, None])
        self.register_buffer("directions", directions)
        self.register_buffer("signs", signs)

    @staticmethod
    def fits(metric: Metric) -> bool:
        """Whether the metric can be inverted without loss."""
        return bool(torch.linalg.cond(metric.weight.detach().double()) <= _MOST_CONDITION)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → distances (N, P)."""
        mapped = F.conv2d(features - self.get_buffer("mean"), self.get_buffer("matrix"))
        vectors = mapped.permute(0, 2, 3, 1).flatten(1, 2)
        along = torch.matmul(vectors.transpose(0, 1), self.get_buffer("directions"))  # (P, N, K)
        removed = (along.square() * self.get_buffer("signs")).sum(2).transpose(0, 1)
        return ((vectors.square().sum(2) - removed).clamp_min(0) + TINY).sqrt()


def _quadratic_form(matrix: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """V·sqrt|λ| (P, C, K) and the signs of λ (P, 1, K), K = min(C, 2·rank), float32, for A (P, C, rank)."""
    inverse = torch.linalg.inv(matrix)
    parts = [_decomposed(matrix, inverse, part.double()) for part in torch.split(directions, _POSITIONS_AT_ONCE)]
    values, vectors = (torch.cat(part) for part in zip(*parts, strict=True))
    return (vectors * values.abs().sqrt()[:, None]).float(), values.sign()[:, None].float()


def _decomposed(matrix: Tensor, inverse: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """λ (P, K) ascending and V (P, C, K) of S, by way of the space that T and P span."""
    gain = directions.square().sum(1).clamp_max(1)
    shrunk = torch.diag_embed(1 / (1 + (1 - gain).sqrt()))  # b
    taken, mapped = inverse.T @ directions, matrix @ directions  # T, P
    across = shrunk @ mapped.transpose(1, 2) @ mapped @ shrunk
    form = torch.cat([torch.cat([-across, shrunk], 2), torch.cat([shrunk, torch.zeros_like(shrunk)], 2)], 1)
    basis, inside = torch.linalg.qr(torch.cat([taken, mapped], 2))
    values, vectors = torch.linalg.eigh(inside @ form @ inside.transpose(1, 2))
    return values, basis @ vectors
