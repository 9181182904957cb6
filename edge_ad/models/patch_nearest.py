"""Distance to the nearest of a small bank of normal patches (PatchCore, Roth et al. 2022) as a detector."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from edge_ad.models.feature_detector import FeatureDetector, FeatureParameters
from edge_ad.models.nearest import NearestNeighbour

__all__ = ["PatchNearest", "PatchNearestParameters"]


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
