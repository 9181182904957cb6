"""Distance to the nearest of a small bank of normal patches (PatchCore, Roth et al. 2022) as a detector."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.feature_detector import FeatureDetector, FeatureParameters

__all__ = ["NearestNeighbour", "PatchNearest", "PatchNearestParameters"]


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


class PatchNearestParameters(FeatureParameters):
    """Parameters of the patch bank.

    Attributes:
        bank: Normal patches that are kept.
    """

    bank: int = Field(default=2000, ge=1, le=65536)


class PatchNearest(FeatureDetector):
    """Whitened distance to the nearest normal patch, wherever it was; only fitted, never trained.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    method = "patch-nearest"
    purpose = "a first look: distance to the nearest normal patch, wherever on the part it was"
    training_time = "seconds"
    parameters_type = PatchNearestParameters
    aliases = ("patchcore",)
    float_modules = (*FeatureDetector.float_modules, "nearest")
    config: PatchNearestParameters

    def __init__(self, config: PatchNearestParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        self.nearest = NearestNeighbour(self.patch_features.channels, size=config.bank, seed=config.seed)

    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fill the bank; the held-out images are not needed."""
        self.nearest.fit(fit)

    def score_patches(self, features: Tensor) -> Tensor:
        """Distances to the nearest entry."""
        distances: Tensor = self.nearest(features)
        return distances
