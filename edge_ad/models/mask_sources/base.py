"""The mask source contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["BackboneSaliency", "ConstantMask", "MaskSource", "top_mass"]


class MaskSource(nn.Module, ABC):
    """Frozen judge of which patches look suspicious.

    ``forward`` gives a suspicion per patch in its own unit; ``binary`` and ``soft`` turn it into masks.

    Attributes:
        needs_features: Whether it reads backbone features; otherwise it reads the image.
        locates: Whether an unsuspicious patch may be trusted to be normal, so that it need not be reconstructed.
    """

    needs_features: ClassVar[bool] = False
    locates: ClassVar[bool] = False

    @abstractmethod
    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Suspicion of each patch.

        Args:
            images: float RGB (N, 3, H, W) in [0, 1].
            features: (N, C, h, w) backbone features, where ``needs_features``.

        Returns:
            (N, 1, h, w), higher is more suspicious.
        """

    @abstractmethod
    def binary(self, suspicion: Tensor) -> Tensor:
        """(N, 1, h, w) suspicion → mask in {0, 1}; 1 hides the patch (M_B)."""

    def soft(self, suspicion: Tensor) -> Tensor:
        """(N, 1, h, w) suspicion → degree in [0, 1]; by default the binary mask."""
        return self.binary(suspicion)

    def fit(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit on backbone features of good images: (N, C, h, w) to fit, (M, C, h, w) for quantiles."""

    def cross_fitted(self, images: Tensor, features: Tensor | None, views: int = 0) -> Tensor:
        """Suspicion of the fitting images as if they had not been fitted: what training must see.

        Args:
            images: (N, 3, H, W).
            features: (N, C, h, w) of them; None without a backbone.
            views: Views of each photo, which follow it.
        """
        suspicion: Tensor = self(images, features)
        return suspicion

    def deployed(self, size_hw: tuple[int, int]) -> MaskSource:
        """The mask source as it is exported: the same function of images of that size, cheaper; by default this one."""
        return self


class ConstantMask(MaskSource):
    """The same mask for every image.

    Args:
        value: 1.0 hides everything (``full``), 0.0 nothing (``none``).
        stride: Pixels per patch.
    """

    def __init__(self, value: float, stride: int = 8) -> None:
        super().__init__()
        self.value, self.stride = value, stride

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, 3, H, W) → (N, 1, H / stride, W / stride), all ``value``."""
        height, width = images.shape[2] // self.stride, images.shape[3] // self.stride
        return torch.full((1, 1, height, width), self.value, device=images.device).expand(images.shape[0], -1, -1, -1)

    def binary(self, suspicion: Tensor) -> Tensor:
        """The suspicion itself."""
        return suspicion


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
