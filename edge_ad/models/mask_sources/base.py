"""The mask source contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["MaskSource"]


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

    def cross_fitted(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Suspicion of the fitting images as if they had not been fitted: what training must see."""
        suspicion: Tensor = self(images, features)
        return suspicion
