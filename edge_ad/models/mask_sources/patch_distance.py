"""Distance of patch features to those of normal images: the embedded counterpart of a segmentation model's mask."""

from __future__ import annotations

import copy
from typing import ClassVar, Literal

import torch
from torch import Tensor

from edge_ad.data.views import photo_of_view
from edge_ad.models.gaussian import PositionGaussian
from edge_ad.models.mask_sources.base import MaskSource
from edge_ad.models.patch_nearest import NearestNeighbour

__all__ = ["DistanceKind", "PatchDistance", "quantile_above"]

DistanceKind = Literal["gaussian", "nearest"]

_FOLDS = 5


class PatchDistance(MaskSource):
    """Patches farther from normal than a quantile of held-out good patches.

    Args:
        channels: Feature channels.
        grid_hw: Feature map height and width.
        kind: A Gaussian per position, or a bank of normal patches that ignores position.
        quantile: Share of held-out good patches below the threshold.
        rank: Rank of the Gaussian.
        bank: Entries of the bank.
        seed: Seed of the bank's subset.
    """

    needs_features: ClassVar[bool] = True
    locates: ClassVar[bool] = True

    def __init__(
        self,
        channels: int,
        grid_hw: tuple[int, int],
        *,
        kind: DistanceKind = "gaussian",
        quantile: float = 0.995,
        rank: int = 16,
        bank: int = 2000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.quantile = quantile
        self.distance: PositionGaussian | NearestNeighbour = (
            PositionGaussian(channels, grid_hw, rank=rank)
            if kind == "gaussian"
            else NearestNeighbour(channels, size=bank, seed=seed)
        )
        self.register_buffer("limit", torch.ones(()))
        self.register_buffer("spread", torch.ones(()))

    @torch.no_grad()
    def fit(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the distance; take its limit (a quantile) and spread (standard deviation) from held-out good patches."""
        self.distance.fit(fit)
        distances = self.distance(held_out).flatten()
        self.get_buffer("limit").copy_(quantile_above(distances, self.quantile))
        self.get_buffer("spread").copy_(distances.std().clamp_min(1e-6))

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, C, h, w) features → distances (N, 1, h, w)."""
        assert features is not None
        distances: Tensor = self.distance(features)
        return distances

    def binary(self, suspicion: Tensor) -> Tensor:
        """Farther than the limit."""
        return (suspicion > self.get_buffer("limit")).to(suspicion.dtype)

    def soft(self, suspicion: Tensor) -> Tensor:
        """``sigmoid((d - limit) / spread)``: 0.5 at the limit."""
        return torch.sigmoid((suspicion - self.get_buffer("limit")) / self.get_buffer("spread"))

    @torch.no_grad()
    def cross_fitted(self, images: Tensor, features: Tensor | None, views: int = 0) -> Tensor:
        """Distances of each fifth of the photos to a fit on the other four fifths; the fit itself is left as it was."""
        assert features is not None
        probe = copy.deepcopy(self.distance)
        photos = torch.from_numpy(photo_of_view(len(features), views))
        count = min(_FOLDS, int(photos[-1]) + 1)
        folds = photos % count
        distances = features.new_empty(len(features), 1, *features.shape[2:])
        for fold in range(count):
            probe.fit(features[folds != fold])
            distances[folds == fold] = probe(features[folds == fold])
        return distances


def quantile_above(values: Tensor, quantile: float) -> Tensor:
    """``torch.quantile`` without its limit on the number of values: the value at the rank above."""
    rank = min(int(quantile * len(values)), len(values) - 1)
    return values.kthvalue(rank + 1).values
