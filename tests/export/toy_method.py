"""A method of a third party, in one file: the mean absolute distance to the mean patch of the good images."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from edge_ad.models.feature_detector import FeatureDetector, FeatureParameters

__all__ = ["PatchMean", "PatchMeanParameters"]


class PatchMeanParameters(FeatureParameters):
    """Parameters of the patch mean.

    Attributes:
        quantile: Quantile of the held-out distances that counts as 1.
    """

    quantile: float = Field(default=0.99, gt=0, le=1)


class PatchMean(FeatureDetector):
    """Distance to the mean patch of each position; only fitted, never trained.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    method = "patch-mean"
    parameters_type = PatchMeanParameters
    aliases = ("mean",)
    config: PatchMeanParameters

    def __init__(self, config: PatchMeanParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        self.register_buffer("mean", torch.zeros(1, self.patch_features.channels, *self.grid_hw))
        self.register_buffer("scale", torch.ones(1))

    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """The mean of the fitting images; the scale follows from the others."""
        self.get_buffer("mean").copy_(fit.mean(0, keepdim=True))
        self.get_buffer("scale").fill_(1.0)
        self.get_buffer("scale").fill_(float(self.score_patches(held_out).quantile(self.config.quantile)))

    def score_patches(self, features: Tensor) -> Tensor:
        """Distances in units of the scale."""
        distance = (features - self.get_buffer("mean")).abs().mean(1, keepdim=True)
        return distance / self.get_buffer("scale").clamp_min(1e-6)
