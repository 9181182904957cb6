"""Frozen features brought to a scale on which one learning rate and one length of noise fit every channel."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Standardisation", "StandardisationKind"]

StandardisationKind = Literal["none", "channel", "whiten", "position"]

_REGULARISATION = 1e-2  # of the mean variance, as the Gaussian baseline adds
_VARIANCE_FLOOR = 1e-6  # keeps the covariance invertible when all images are the same


class Standardisation(nn.Module):
    """``z = W (f - μ)``.

    Args:
        channels: Feature channels C.
        grid_hw: Feature map height and width.
        kind: ``none``: W = 1, μ = 0. ``channel``: mean and deviation of each channel. ``whiten``: the covariance of
            z over all patches is the identity. ``position``: the same with a mean per position, so that ``|z|`` is the
            Mahalanobis distance that PaDiM would give with a covariance shared by all positions.
    """

    def __init__(self, channels: int, grid_hw: tuple[int, int], kind: StandardisationKind) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", torch.zeros(1, channels, *(grid_hw if kind == "position" else (1, 1))))
        self.register_buffer("transform", torch.eye(channels))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Fit on features (N, C, h, w) of normal images."""
        if self.kind == "none":
            return
        mean = features.mean(0, keepdim=True) if self.kind == "position" else features.mean((0, 2, 3), keepdim=True)
        flat = (features - mean).permute(0, 2, 3, 1).reshape(-1, features.shape[1])
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("transform").copy_(_inverse_root(flat.T @ flat / len(flat), diagonal=self.kind == "channel"))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → z by position, (N, h·w, C)."""
        centred = (features - self.get_buffer("mean")).flatten(2).transpose(1, 2)
        return centred @ self.get_buffer("transform").T


def _inverse_root(covariance: Tensor, *, diagonal: bool) -> Tensor:
    """W with ``W Σ Wᵀ = 1`` for the regularised covariance Σ (C, C), or for its diagonal."""
    if diagonal:
        return torch.diag((covariance.diagonal() + _VARIANCE_FLOOR).rsqrt())
    covariance = covariance.clone()
    covariance.diagonal().add_(_REGULARISATION * covariance.diagonal().mean() + _VARIANCE_FLOOR)
    root: Tensor = torch.linalg.cholesky(covariance)
    inverse: Tensor = torch.linalg.inv(root)
    return inverse
