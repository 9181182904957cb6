"""Distance to the nearest of a small bank of normal patch features (PatchCore's idea at edge size)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["NearestNeighbour"]


class NearestNeighbour(nn.Module):
    """Whitened distance to the nearest bank entry; knows nothing of position.

    Args:
        channels: Feature channels C.
        size: Bank entries.
        seed: Seed of the random subset of patches that fills the bank.
    """

    def __init__(self, channels: int, *, size: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("whiten", torch.eye(channels)[:, :, None, None])
        self.register_buffer("bank", torch.zeros(size, channels))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Whiten by all patches of (N, C, h, w) and keep a random subset of them (with repetition if there are few)."""
        flat = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
        mean = flat.mean(0)
        covariance = torch.cov(flat.T)
        covariance.diagonal().add_(1e-2 * covariance.diagonal().mean() + 1e-6)
        whiten = torch.linalg.inv(torch.linalg.cholesky(covariance))
        bank = self.get_buffer("bank")
        order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(self.seed))
        chosen = order[torch.arange(len(bank)) % len(order)]
        self.get_buffer("mean").copy_(mean[None, :, None, None])
        self.get_buffer("whiten").copy_(whiten[:, :, None, None])
        bank.copy_((flat[chosen] - mean) @ whiten.T)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → distances (N, 1, h, w): ``min_b |z - b|`` through one 1×1 convolution."""
        bank = self.get_buffer("bank")
        whitened = F.conv2d(features - self.get_buffer("mean"), self.get_buffer("whiten"))
        closeness = F.conv2d(whitened, bank[:, :, None, None], -0.5 * bank.square().sum(1))
        squared = whitened.square().sum(1, keepdim=True) - 2 * closeness.amax(1, keepdim=True)
        return squared.clamp_min(0).sqrt()
