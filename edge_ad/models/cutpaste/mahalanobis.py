"""Mahalanobis distance as a matrix product: the whitening matrix is a 1×1 convolution."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import DataError

__all__ = ["Mahalanobis", "ledoit_wolf"]

_VARIANCE_FLOOR = 1e-6  # keeps the covariance invertible when all images are the same


def ledoit_wolf(centred: Iterable[Tensor]) -> tuple[Tensor, float]:
    """Shrunk covariance of samples that come in parts.

    Args:
        centred: Parts (n, p) of the samples, of zero mean together.

    Returns:
        float64 (p, p), and ρ in [0, 1]; samples that are all alike have ρ = 0.

    Raises:
        ValueError: There is no part.
    """
    count, second, fourth = 0, None, 0.0
    for part in centred:
        samples = part.double()
        product = samples.T @ samples
        second = product if second is None else second + product
        fourth += float(samples.square().sum(1).square().sum())
        count += len(samples)
    if second is None:
        raise ValueError("there are no samples")
    covariance, dimensions = second / count, len(second)
    mean = covariance.diagonal().mean()
    identity = mean * torch.eye(dimensions, dtype=covariance.dtype, device=covariance.device)
    distance = float((covariance - identity).square().sum()) / dimensions
    error = (fourth / count - float(covariance.square().sum())) / (count * dimensions)
    shrinkage = max(0.0, min(error, distance)) / distance if distance > 0 else 0.0
    return (1 - shrinkage) * covariance + shrinkage * identity, shrinkage


class Mahalanobis(torch.nn.Module):
    """A mean for each position, one covariance for all.

    With ``Σ = L Lᵀ``: ``d² = (x - μ_p)ᵀ Σ⁻¹ (x - μ_p) = |L⁻¹ (x - μ_p)|²``.

    Args:
        channels: C.
        grid_hw: Positions; (1, 1) for one vector per image.
    """

    def __init__(self, channels: int, grid_hw: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, *grid_hw))
        self.register_buffer("whiten", torch.eye(channels)[:, :, None, None].clone())

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Fit on features of normal images, with Ledoit-Wolf shrinkage.

        Args:
            features: (N, C, h, w), N ≥ 2.

        Raises:
            DataError: There is only one image.
        """
        if len(features) < 2:
            raise DataError("One image has no variance to fit.", "Add photos of good parts.")
        mean = features.double().mean(0)
        covariance, _ = ledoit_wolf((image - mean).flatten(1).T for image in features)
        covariance.diagonal().add_(_VARIANCE_FLOOR)
        whiten = torch.linalg.inv(torch.linalg.cholesky(covariance))
        self.get_buffer("mean").copy_(mean[None])
        self.get_buffer("whiten").copy_(whiten[:, :, None, None])

    @torch.no_grad()
    def divide_by(self, unit: float) -> None:
        """Make this distance the new unit."""
        self.get_buffer("whiten").div_(unit)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → distances (N, 1, h, w)."""
        whitened = F.conv2d(features - self.get_buffer("mean"), self.get_buffer("whiten"))
        return whitened.square().sum(1, keepdim=True).sqrt()
