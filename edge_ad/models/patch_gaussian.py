"""The mask source alone as a detector: PaDiM's Gaussian per position (Defard et al. 2021) at edge size."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.models.base import AnomalyDetector, DetectorOutput, MethodParameters
from edge_ad.models.gaussian import PositionGaussian
from edge_ad.models.patch_features import PatchFeatures
from edge_ad.models.smoothing import GaussianFilter

__all__ = ["PatchGaussian", "PatchGaussianParameters"]


class PatchGaussianParameters(MethodParameters):
    """Parameters of the patch Gaussian.

    Attributes:
        rank: Directions kept per position.
        shrinkage: Share of the common covariance.
        sigma: Smoothing of the map, pixels.
    """

    rank: int = Field(default=16, ge=1)
    shrinkage: float = Field(default=0.2, gt=0, le=1)
    sigma: float = Field(default=4.0, ge=0.1, le=64)


class PatchGaussian(AnomalyDetector):
    """Mahalanobis distance of patch features; only fitted, never trained.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    method: ClassVar[str] = "patch-gaussian"
    config: PatchGaussianParameters

    def __init__(self, config: PatchGaussianParameters, *, pretrained: bool = True) -> None:
        super().__init__()
        if config.size % 32:
            raise UsageError(f"The image size {config.size} does not fit.", "Give --size a multiple of 32.")
        self.config = config
        self.patch_features = PatchFeatures(pretrained=pretrained)
        side = config.size // self.patch_features.stride
        channels = self.patch_features.channels
        self.gaussian = PositionGaussian(channels, (side, side), rank=config.rank, shrinkage=config.shrinkage)
        self.smoothing = GaussianFilter(config.sigma)

    @property
    def backbone(self) -> nn.Module | None:
        """The frozen feature network."""
        return self.patch_features

    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the Gaussian; the held-out images are not needed."""
        self.gaussian.fit(fit)

    def start_stage(self, stage: Any) -> list[dict[str, Any]]:
        """There is no gradient stage."""
        raise NotImplementedError(f"{self.method} is fitted, not trained")

    @torch.no_grad()
    def frozen_outputs(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Nothing is reused: there are no epochs."""
        return images.new_zeros((len(images), 0))

    def forward(self, images: Tensor) -> DetectorOutput:
        """Map: distances brought to image size bilinearly and smoothed; score: their maximum."""
        distances = self.gaussian(self.patch_features(images))
        size = images.shape[2:]
        anomaly_map = self.smoothing(F.interpolate(distances, size, mode="bilinear", align_corners=False))
        return DetectorOutput(anomaly_map.amax((1, 2, 3)), anomaly_map)
