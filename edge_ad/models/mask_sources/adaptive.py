"""AMI-Net's adaptive mask (Luo et al., IEEE TASE 2024): tokens that lie far out in their cluster."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models.mask_sources.base import MaskSource
from edge_ad.models.mask_sources.token_clusters import TokenClusters, clustering_loss, distance_to_centres

__all__ = ["AdaptiveMask", "relative_to_cluster"]

_PATCH = 2  # feature cells at stride 8: a token of 16 pixels, as the paper's 4 cells at stride 4
_LEARNING_RATE = 1e-4
_BETAS = (0.9, 0.95)
_BATCH = 8
_SMALLEST = 1e-12


class AdaptiveMask(MaskSource):
    """Tokens farther from their centre than ``mean + deviations · std`` of their cluster, within each photo.

    The suspicion is the distance in units of this limit: 1 and more is masked.

    Args:
        channels: Feature channels.
        grid_hw: Feature map height and width.
        width: Channels of a token, a multiple of 64, or of 4 below it.
        clusters: Centres per photo.
        deviations: Standard deviations above a cluster's mean.
        steps: Steps of the training.
        seed: Weights, noise and the order of training follow from it.
    """

    needs_features: ClassVar[bool] = True

    def __init__(
        self,
        channels: int,
        grid_hw: tuple[int, int],
        *,
        width: int = 192,
        clusters: int = 8,
        deviations: float = 0.5,
        steps: int = 400,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.deviations, self.steps, self.seed = deviations, steps, seed
        self._shape = (channels, grid_hw, width, clusters)
        self.token_clusters = self._new_network()

    def _new_network(self) -> TokenClusters:
        channels, grid_hw, width, clusters = self._shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = TokenClusters(channels, grid_hw, patch=_PATCH, width=width, clusters=clusters)
        return network.eval().requires_grad_(False)

    @torch.enable_grad()
    def fit(self, fit: Tensor, held_out: Tensor) -> None:
        """Train tokens and centres anew on features of good photos; the held-out ones are not needed."""
        network = self._new_network().to(fit.device).requires_grad_(True)
        generator = torch.Generator().manual_seed(self.seed)
        optimiser = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, betas=_BETAS)
        for _ in range(self.steps):
            chosen = torch.randint(len(fit), (min(_BATCH, len(fit)),), generator=generator)
            loss = clustering_loss(*network(fit[chosen.to(fit.device)], generator))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        self.token_clusters = network.requires_grad_(False)

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, C, h, w) features → distance in units of the limit of the token's cluster, (N, 1, h, w)."""
        assert features is not None
        distances = distance_to_centres(*self.token_clusters(features))
        suspicion = relative_to_cluster(distances, self.deviations)
        rows, columns = features.shape[2] // _PATCH, features.shape[3] // _PATCH
        size = (int(features.shape[2]), int(features.shape[3]))
        return F.interpolate(suspicion.reshape(-1, 1, rows, columns), size, mode="nearest")

    def cross_fitted(self, images: Tensor, features: Tensor | None, views: int = 0) -> Tensor:
        """In parts. The limits are of each photo itself, so that a photo that was fitted is masked as a new one is."""
        assert features is not None
        return torch.cat([self(part[:, :0], part) for part in torch.split(features, _BATCH)])

    def binary(self, suspicion: Tensor) -> Tensor:
        """At the limit or beyond it."""
        return (suspicion >= 1).to(suspicion.dtype)


def relative_to_cluster(distances: Tensor, deviations: float) -> Tensor:
    """Distance of each token to its nearest centre over ``mean + deviations · std`` of all tokens of that centre.

    Args:
        distances: Of each token to each centre, (N, T, M).
        deviations: Standard deviations above the mean.

    Returns:
        (N, T); 0 for a token that has its cluster for itself, which has no deviation.
    """
    nearest = distances.amin(2, keepdim=True)
    member = (distances <= nearest).to(distances.dtype)
    count = member.sum(1, keepdim=True)
    mean = (member * nearest).sum(1, keepdim=True) / count.clamp_min(1)
    variance = (member * (nearest - mean).square()).sum(1, keepdim=True) / (count - 1).clamp_min(1)
    limit = mean + deviations * variance.clamp_min(_SMALLEST).sqrt()
    several = member * (count > 1).to(distances.dtype)
    return (several * nearest / limit.clamp_min(_SMALLEST)).amax(2)
