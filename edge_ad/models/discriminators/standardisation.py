"""Frozen features brought to a scale on which one learning rate and one length of noise fit every channel."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from edge_ad.data.views import photo_of_view
from edge_ad.models.gaussian import PositionGaussian

__all__ = ["CrossFit", "Standardisation", "StandardisationKind", "draw_positions", "gather_positions"]

StandardisationKind = Literal["none", "channel", "whiten", "position", "local"]

_REGULARISATION = 1e-2  # of the mean variance, as the Gaussian baseline adds
_VARIANCE_FLOOR = 1e-6  # keeps the covariance invertible when all images are the same
_FOLDS = 5


def draw_positions(images: int, positions: int, share: float, generator: torch.Generator) -> Tensor:
    """Another random subset of the positions for each image.

    Args:
        images: N.
        positions: P, positions of an image.
        share: Share of them, in (0, 1].
        generator: Of the draw.

    Returns:
        int64 (N, M), M = share · P, at least 1; no position twice for an image.
    """
    drawn = torch.rand(images, positions, generator=generator)
    return drawn.topk(max(1, round(share * positions)), dim=1, largest=False).indices  # cheaper than sorting all


def gather_positions(vectors: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw positions and take what is there.

    Args:
        vectors: (N, P, C).
        share: As in ``draw_positions``.
        generator: Of the draw.

    Returns:
        The positions (N, M) and the vectors (N, M, C).
    """
    images, positions, channels = vectors.shape
    chosen = draw_positions(images, positions, share, generator).to(vectors.device)
    flat = chosen + positions * torch.arange(images, device=vectors.device)[:, None]
    return chosen, vectors.reshape(-1, channels).index_select(0, flat.flatten()).reshape(*chosen.shape, channels)


class Standardisation(nn.Module):
    """``z = W (f - μ)``.

    Args:
        channels: Feature channels C.
        grid_hw: Feature map height and width.
        kind: ``none``: W = 1, μ = 0. ``channel``: mean and deviation of each channel. ``whiten``: the covariance of
            z over all patches is the identity. ``position``: the same with a mean per position, so that ``|z|`` is the
            Mahalanobis distance that PaDiM would give with a covariance shared by all positions. ``local``: W of each
            position too, so that ``|z|`` is the distance of ``patch-gaussian``.
        rank: Directions kept per position by ``local``.
        shrinkage: Share of the common covariance in ``local``.
    """

    def __init__(
        self,
        channels: int,
        grid_hw: tuple[int, int],
        kind: StandardisationKind,
        *,
        rank: int = 16,
        shrinkage: float = 0.2,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.gaussian: PositionGaussian | None = None
        if kind == "local":
            self.gaussian = PositionGaussian(channels, grid_hw, rank=rank, shrinkage=shrinkage)
            return
        self.register_buffer("mean", torch.zeros(1, channels, *(grid_hw if kind == "position" else (1, 1))))
        self.register_buffer("transform", torch.eye(channels))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Fit on features (N, C, h, w) of normal images."""
        if self.gaussian is not None:
            self.gaussian.fit(features)
        if self.kind in ("none", "local"):
            return
        mean = features.mean(0, keepdim=True) if self.kind == "position" else features.mean((0, 2, 3), keepdim=True)
        flat = (features - mean).permute(0, 2, 3, 1).reshape(-1, features.shape[1])
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("transform").copy_(_inverse_root(flat.T @ flat / len(flat), diagonal=self.kind == "channel"))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → z by position, (N, h·w, C)."""
        if self.gaussian is not None:
            return self.gaussian.standardise(features)
        if self.kind == "none":
            return features.flatten(2).transpose(1, 2)
        centred = (features - self.get_buffer("mean")).flatten(2).transpose(1, 2)
        return centred @ self.get_buffer("transform").T

    @property
    def is_per_position(self) -> bool:
        """Whether what is fitted per position sees few samples, and is far too close to them."""
        return self.kind in ("position", "local")


class CrossFit:
    """Standardises the features that were fitted, and what was painted on their images, as those of new images are.

    What is fitted per position is fitted again without each fifth of the photos, views and all, and standardises that
    fifth. The other kinds see all positions alike, and need no such care.

    Args:
        standardisation: Fitted.
        features: (N, C, h, w) that it was fitted on.
        views: Views of a photo, which follow it in ``features``.
    """

    def __init__(self, standardisation: Standardisation, features: Tensor, views: int = 0) -> None:
        photos = torch.from_numpy(photo_of_view(len(features), views))
        count = min(_FOLDS, int(photos[-1]) + 1) if standardisation.is_per_position else 1
        self._photos, fold_of = photos, photos % count
        self._folds = [copy.deepcopy(standardisation) for _ in range(count)]
        for index in range(count if count > 1 else 0):
            self._folds[index].fit(features[fold_of != index])

    @torch.no_grad()
    def __call__(self, features: Tensor, photos: Tensor | None = None) -> Tensor:
        """(N, C, h, w) of the same images → z, (N, h·w, C).

        Args:
            features: Of all images in their order, or of those that ``photos`` names.
            photos: int64 (N,), which photos they are of.
        """
        count, (_, channels, height, width) = len(self._folds), features.shape
        fold_of = (self._photos if photos is None else photos) % count
        together = features.new_empty(len(features), height * width, channels)
        for index in sorted(set(fold_of.tolist())):
            together[fold_of == index] = self._folds[index](features[fold_of == index])
        return together


def _inverse_root(covariance: Tensor, *, diagonal: bool) -> Tensor:
    """W with ``W Σ Wᵀ = 1`` for the regularised covariance Σ (C, C), or for its diagonal."""
    if diagonal:
        return torch.diag((covariance.diagonal() + _VARIANCE_FLOOR).rsqrt())
    covariance = covariance.clone()
    covariance.diagonal().add_(_REGULARISATION * covariance.diagonal().mean() + _VARIANCE_FLOOR)
    root: Tensor = torch.linalg.cholesky(covariance)
    inverse: Tensor = torch.linalg.inv(root)
    return inverse
