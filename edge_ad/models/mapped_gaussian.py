"""A linear map behind the Gaussian of a position, in one form: ``u = M S_p^(-1/2) (x - μ_p) + c``.

As it is trained, features are whitened (z), lose what their position explains, are scaled, and go through M: two passes
over every feature more than are needed. In m = M z / sqrt(k), with the directions A of the position and
b = 1 / (1 + sqrt(1 - g)) of each,

    u = m - P Tᵀ m + c,    T = M⁻ᵀ A b,    P = M A.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_ad.models.gaussian import PositionGaussian, vectors_by_position

__all__ = ["MappedGaussian", "is_invertible", "joint_matrix", "mapped_directions"]

_MOST_CONDITION = 100.0  # learned maps lie below 15


class MappedGaussian(nn.Module):
    """Standardisation by position and the map that follows it.

    Args:
        gaussian: Fitted.
        layer: The map, C → C; see ``is_invertible``.
    """

    def __init__(self, gaussian: PositionGaussian, layer: nn.Linear) -> None:
        super().__init__()
        matrix = layer.weight.detach().double()
        taken, given = mapped_directions(matrix, gaussian.get_buffer("directions").double())
        self.register_buffer("mean", gaussian.get_buffer("mean").clone())
        self.register_buffer("matrix", joint_matrix(gaussian, matrix))
        self.register_buffer("taken", taken.float())
        self.register_buffer("given", given.transpose(1, 2).contiguous().float())
        self.register_buffer("bias", layer.bias.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → u by position, (N, P, C)."""
        vectors = vectors_by_position(features, self.get_buffer("mean"), self.get_buffer("matrix"))
        along = torch.matmul(vectors.transpose(0, 1), self.get_buffer("taken"))  # (P, N, rank)
        explained = torch.matmul(along, self.get_buffer("given")).transpose(0, 1)
        return vectors - explained + self.get_buffer("bias")


def is_invertible(matrix: Tensor) -> bool:
    """Whether a matrix (C, C) can be inverted without loss."""
    return bool(torch.linalg.cond(matrix.detach().double()) <= _MOST_CONDITION)


def joint_matrix(gaussian: PositionGaussian, matrix: Tensor) -> Tensor:
    """``M W / sqrt(k)`` as a 1×1 convolution, float32 (C, C, 1, 1)."""
    whiten = gaussian.get_buffer("whiten").double()[:, :, 0, 0]
    joint: Tensor = (matrix @ whiten / gaussian.shrinkage**0.5).float()
    return joint[:, :, None, None]


def mapped_directions(matrix: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """T and P, (P, C, rank) each, of M (C, C) and A (P, C, rank)."""
    gain = directions.square().sum(1, keepdim=True).clamp_max(1)
    taken = torch.linalg.inv(matrix).T @ directions / (1 + (1 - gain).sqrt())
    return taken, matrix @ directions
