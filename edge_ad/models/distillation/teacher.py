"""The frozen network whose levels the student gives back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.backbones import BackboneName, create_backbone
from edge_ad.models.feature_matching import MatchingKind
from edge_ad.models.picture_normalisation import InputNormalisation, PictureNormalisation

__all__ = ["STRIDES", "Matching", "Teacher"]

STRIDES = (4, 8, 16)
Matching = Literal[MatchingKind, "none"]

_MATCHED_LEVELS = (4, 8)
_FITTED_AT_ONCE = 8


class Teacher(nn.Module):
    """Three levels of a frozen backbone, and their form as one tensor, which is what a cache of features keeps.

    Args:
        backbone: Name.
        weights: ``imagenet``, ``random`` or a path; None where a checkpoint follows.
        seed: Random weights follow from it.
    """

    def __init__(self, backbone: BackboneName, weights: str | None, seed: int) -> None:
        super().__init__()
        self.network = create_backbone(backbone, STRIDES, weights=weights, seed=seed)
        self.channels = tuple(self.network.channels_of(stride) for stride in STRIDES)
        self.normalisation: PictureNormalisation | None = None
        self.eval().requires_grad_(False)

    def resist_shifts(
        self, normalisation: InputNormalisation, matching: Matching, *, size_hw: tuple[int, int], share: float
    ) -> None:
        """Add what brings a picture, or its levels at strides 4 and 8, to what photos of good parts have.

        Args:
            normalisation: ``picture`` or ``none``.
            matching: How levels are matched, or ``none``; the deepest is computed from matched ones.
            size_hw: Height and width of the images, in pixels.
            share: Of the photos' statistics in what is matched.
        """
        if normalisation == "picture":
            self.normalisation = PictureNormalisation()
        if matching != "none":
            self.network.add_matching(matching, _MATCHED_LEVELS, size_hw=size_hw, share=share)

    @torch.no_grad()
    def fit_photos(self, photos: Tensor) -> None:
        """Fit what `resist_shifts` added on good photos, uint8 RGB (N, 3, H, W)."""
        if self.normalisation is not None:
            self.normalisation.fit(photos)
        if len(self.network.matching):
            self.network.fit_matching([self._prepared(part / 255.0) for part in torch.split(photos, _FITTED_AT_ONCE)])

    def levels(self, images: Tensor) -> list[Tensor]:
        """Float RGB (N, 3, H, W) in [0, 1] → levels (N, C, H / stride, W / stride), finest first."""
        levels: list[Tensor] = self.network(self._prepared(images))
        return levels

    def unmatched_levels(self, images: Tensor) -> list[Tensor]:
        """The levels as the student learns them: matching is for the pictures that are tested."""
        matching, self.network.matching = self.network.matching, nn.ModuleDict()
        try:
            return self.levels(images)
        finally:
            self.network.matching = matching

    def _prepared(self, images: Tensor) -> Tensor:
        return images if self.normalisation is None else self.normalisation(images)

    def forward(self, images: Tensor) -> Tensor:
        """The levels that the student learns, packed."""
        return self.pack(self.unmatched_levels(images))

    def pack(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels → (N, Σ C·(16 / stride)², H / 16, W / 16): the cells of finer ones lie in the channels."""
        return torch.cat([F.pixel_unshuffle(x, STRIDES[-1] // s) for x, s in zip(levels, STRIDES, strict=True)], 1)

    def unpack(self, packed: Tensor) -> list[Tensor]:
        """The levels that were packed."""
        factors = [STRIDES[-1] // stride for stride in STRIDES]
        parts = torch.split(packed, [c * f**2 for c, f in zip(self.channels, factors, strict=True)], 1)
        return [F.pixel_shuffle(part, factor) for part, factor in zip(parts, factors, strict=True)]
