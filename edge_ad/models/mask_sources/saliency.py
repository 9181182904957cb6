"""Saliency of a frozen backbone as a mask: a convolutional stand-in for DINO's attention."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from edge_ad.models.mask_sources.base import MaskSource

__all__ = ["BackboneSaliency", "top_mass"]


def top_mass(saliency: Tensor, share: float) -> Tensor:
    """The patches that hold the top ``share`` of an image's saliency mass (DINO's visualisation keeps 0.6).

    A patch is kept while the mass strictly above it is below the share, so equal patches are kept or dropped together,
    those without saliency are dropped, and an image without any keeps nothing. Comparing all pairs needs no sort, which
    TensorRT limits to 3840 values.

    Args:
        saliency: (N, 1, h, w), non-negative.
        share: In (0, 1].

    Returns:
        (N, 1, h, w) in {0, 1}.
    """
    flat = saliency.flatten(1)
    above = (flat[:, None, :] > flat[:, :, None]).to(flat.dtype)
    mass_above = (above * flat[:, None, :]).sum(2)
    kept = (mass_above < share * flat.sum(1, keepdim=True)).to(flat.dtype)
    return kept.reshape(-1, *saliency.shape[1:])


class BackboneSaliency(MaskSource):
    """Mean magnitude of the deepest backbone level.

    Args:
        deep_channels: How many of the last feature channels belong to the deepest level.
        mass: Share of the saliency mass that is masked.
    """

    needs_features: ClassVar[bool] = True

    def __init__(self, deep_channels: int, mass: float = 0.6) -> None:
        super().__init__()
        self.deep_channels, self.mass = deep_channels, mass

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, C, h, w) features → saliency (N, 1, h, w), non-negative."""
        assert features is not None
        return features[:, -self.deep_channels :].abs().mean(1, keepdim=True)

    def binary(self, suspicion: Tensor) -> Tensor:
        """The patches with the top share of the mass."""
        return top_mass(suspicion, self.mass)
