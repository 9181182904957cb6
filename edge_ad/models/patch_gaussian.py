"""PaDiM's Gaussian per position (Defard et al. 2021) at edge size, as a detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from edge_ad.models.feature_detector import FeatureDetector, FeatureParameters
from edge_ad.models.gaussian import PositionGaussian

__all__ = ["PatchGaussian", "PatchGaussianParameters"]


class PatchGaussianParameters(FeatureParameters):
    """Parameters of the patch Gaussian.

    Attributes:
        rank: Directions kept per covariance.
        shrinkage: Share of the common covariance.
        block: Side of the squares of positions that share a covariance; 1 gives each its own.
    """

    absent: ClassVar[Mapping[str, Any]] = {**FeatureParameters.absent, "block": 1}

    speeds: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: values if name == "fast" else {**values, "block": 2} for name, values in FeatureParameters.speeds.items()
    }

    rank: int = Field(default=48, ge=1)
    shrinkage: float = Field(default=0.2, gt=0, le=1)
    block: int = Field(default=4, ge=1, le=8)


class PatchGaussian(FeatureDetector):
    """Mahalanobis distance of patch features; only fitted, never trained.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    method = "patch-gaussian"
    purpose = "most products: measured best; distance to normal at each place"
    training_time = "seconds"
    parameters_type = PatchGaussianParameters
    aliases = ("padim",)
    float_modules = (*FeatureDetector.float_modules, "gaussian")
    config: PatchGaussianParameters

    def __init__(self, config: PatchGaussianParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        channels = self.patch_features.channels
        self.gaussian = PositionGaussian(
            channels, self.grid_hw, rank=config.rank, shrinkage=config.shrinkage, block=config.block
        )

    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the Gaussian; the held-out images are not needed."""
        self.gaussian.fit(fit)

    def score_patches(self, features: Tensor) -> Tensor:
        """Mahalanobis distances."""
        distances: Tensor = self.gaussian(features)
        return distances
