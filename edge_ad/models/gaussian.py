"""A Gaussian per position of a feature map, small enough for an edge device.

PaDiM keeps a full covariance per position: 95 MB for 152 channels on a 32×32 grid, read for every frame. Here the
covariance of a position is shrunk towards the one shared by all positions, ``S_p = k·S + (1 - k)·C_p``, and ``C_p`` is
kept by its ``rank`` largest directions. In the space whitened by S, with z = W (x - μ_p) and C_p ≈ E Λ Eᵀ,

    d² = xᵀ S_p⁻¹ x = (|z|² - |Aᵀ z|²) / k,    A = E · sqrt(λ / (λ + k / (1 - k))).

Rank 16 takes 10 MB for the same grid. Squares of b×b positions may share one C_p, each with a mean of its own: it then
has b² times as many samples, and b² times as many directions take the same memory. With g = |a|² of a column a of A,
the vector whose length is d is

    y = S_p^(-1/2) x = (z - Σ a (aᵀ z) / (1 + sqrt(1 - g))) / sqrt(k).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from edge_ad.errors import DataError

__all__ = [
    "MappedGaussian",
    "PositionGaussian",
    "is_invertible",
    "joint_matrix",
    "mapped_directions",
    "vectors_by_position",
]

_REGULARISATION = 1e-2  # of the mean variance; PaDiM adds 0.01 to the diagonal
_VARIANCE_FLOOR = 1e-6  # keeps the covariance invertible when all images are the same
_POSITIONS_AT_ONCE = 128
_MOST_CONDITION = 100.0  # learned maps lie below 15


class PositionGaussian(nn.Module):
    """Mahalanobis distance to a low-rank-plus-shared Gaussian per position.

    Args:
        channels: Feature channels C.
        grid_hw: Feature map height and width.
        rank: Directions kept per covariance.
        shrinkage: k in (0, 1], the share of the common covariance.
        block: Side of the squares of positions that share a covariance; what does not divide the grid is brought to
            the greatest side that does.
    """

    def __init__(
        self, channels: int, grid_hw: tuple[int, int], *, rank: int = 16, shrinkage: float = 0.2, block: int = 1
    ) -> None:
        super().__init__()
        self.rank, self.shrinkage, self.grid_hw = rank, shrinkage, grid_hw
        self.block = math.gcd(block, *grid_hw)
        covariances = grid_hw[0] * grid_hw[1] // self.block**2
        self.register_buffer("mean", torch.zeros(1, channels, *grid_hw))
        self.register_buffer("whiten", torch.eye(channels)[:, :, None, None])
        self.register_buffer("directions", torch.zeros(covariances, channels, rank))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Fit on features of normal images.

        Args:
            features: (N, C, h, w), N ≥ 2.

        Raises:
            DataError: There is only one image.
        """
        count, channels = features.shape[:2]
        if count < 2:
            raise DataError("One image has no variance to fit.", "Add photos of good parts.")
        mean = features.mean(0)
        positions = mean[0].numel()
        shared = mean.new_zeros(channels, channels)
        parts = torch.split(self._block_order(), max(1, _POSITIONS_AT_ONCE // self.block**2) * self.block**2)
        for part in _centred_parts(features, mean, parts):
            flat = part.reshape(-1, channels)
            shared += flat.T @ flat / (positions * (count - 1))
        shared.diagonal().add_(_REGULARISATION * shared.diagonal().mean() + _VARIANCE_FLOOR)
        whiten = torch.linalg.inv(torch.linalg.cholesky(shared))
        self.get_buffer("mean").copy_(mean[None])
        self.get_buffer("whiten").copy_(whiten[:, :, None, None])
        directions = [self._directions(part @ whiten.T) for part in _centred_parts(features, mean, parts)]
        self.get_buffer("directions").copy_(torch.cat(directions))

    def _block_order(self) -> Tensor:
        """Numbers of the positions, (P,), those of a block after each other."""
        (height, width), side = self.grid_hw, self.block
        rows = torch.arange(height * width).reshape(height // side, side, width // side, side)
        return rows.transpose(1, 2).flatten()

    def _directions(self, whitened: Tensor) -> Tensor:
        """(P, N, C) centred and whitened, by block → (B, C, rank), zero beyond what N images can span."""
        together = self.block**2
        whitened = whitened.reshape(-1, together * whitened.shape[1], whitened.shape[2])
        values, unit = _principal_directions(whitened, means=together)
        kept = min(self.rank, values.shape[1])
        values, unit = values[:, -kept:], unit[..., -kept:]
        gain = values / (values + self.shrinkage / (1 - self.shrinkage + 1e-9))
        directions = whitened.new_zeros(*unit.shape[:2], self.rank)
        directions[..., :kept] = unit * gain[:, None].sqrt()
        return directions

    def standardise(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → y by position, (N, P, C): its length is the Mahalanobis distance; for a covariance each."""
        assert self.block == 1
        whitened = self._whitened(features)
        directions = self.get_buffer("directions")
        gain = directions.square().sum(1, keepdim=True).clamp_max(1)  # (P, 1, rank)
        along = torch.matmul(whitened.transpose(0, 1), directions) / (1 + (1 - gain).sqrt())
        kept = whitened - torch.matmul(along, directions.transpose(1, 2)).transpose(0, 1)
        standardised: Tensor = kept / self.shrinkage**0.5
        return standardised

    def _whitened(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → z (N, P, C), as engines keep it in memory anyway."""
        return vectors_by_position(features, self.get_buffer("mean"), self.get_buffer("whiten"))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → Mahalanobis distances (N, 1, h, w)."""
        whitened = self._whitened(features)
        if self.block > 1:
            return self._squared_by_block(whitened).clamp_min(0).sqrt()
        length = whitened.square().sum(2)
        along = torch.matmul(whitened.transpose(0, 1), self.get_buffer("directions"))  # (P, N, rank)
        squared = (length - along.square().sum(2).transpose(0, 1)) / self.shrinkage
        return squared.clamp_min(0).sqrt().reshape(-1, 1, *self.grid_hw)

    def _squared_by_block(self, whitened: Tensor) -> Tensor:
        """Whitened features (N, P, C) → d² (N, 1, h, w), by one product for each block."""
        side, channels = self.block, whitened.shape[2]
        rows, columns = (length // side for length in self.grid_hw)
        squares = whitened.reshape(-1, rows, side, columns, side, channels).transpose(2, 3)
        blocks = squares.reshape(-1, rows * columns, side**2, channels)
        along = torch.matmul(blocks, self.get_buffer("directions"))  # (N, B, b², rank)
        squared = (blocks.square().sum(3) - along.square().sum(3)) / self.shrinkage
        return squared.reshape(-1, rows, columns, side, side).transpose(2, 3).reshape(-1, 1, *self.grid_hw)


def _centred_parts(features: Tensor, mean: Tensor, parts: Sequence[Tensor]) -> Iterator[Tensor]:
    """Features (N, C, h, w) less their mean at some positions after the others, (P', N, C): no copy of the whole."""
    flat, centres = features.flatten(2), mean.flatten(1)
    for chosen in parts:
        yield (flat[..., chosen] - centres[:, chosen]).permute(2, 0, 1)


def vectors_by_position(features: Tensor, mean: Tensor, matrix: Tensor) -> Tensor:
    """``matrix (x - mean)`` of features (N, C, h, w) as (N, P, C); ``matrix`` is a 1×1 convolution (C, C, 1, 1)."""
    mapped = nn.functional.conv2d(features - mean, matrix)
    return mapped.permute(0, 2, 3, 1).flatten(1, 2)


def _principal_directions(samples: Tensor, *, means: int = 1) -> tuple[Tensor, Tensor]:
    """Variances (P, m) and unit directions (P, C, m) of samples (P, N, C), ascending, m = min(N - means, C).

    Equal parts of the samples were centred by as many means of their own.

    The smaller of the two matrices, N×N or C×C, is decomposed: the time no longer grows with the number of images.
    """
    count, channels = samples.shape[1:]
    across, freedom = samples.transpose(1, 2), count - means
    if count > channels:
        values, vectors = torch.linalg.eigh(across @ samples / freedom)
        return values.clamp_min(0), vectors
    values, vectors = torch.linalg.eigh(samples @ across / freedom)
    values = values[:, means:].clamp_min(1e-9)  # each centring leaves one direction empty
    return values, across @ vectors[..., means:] / (freedom * values)[:, None].sqrt()


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
