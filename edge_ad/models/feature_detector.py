"""What detectors on frozen patch features share: parameters, the backbone, and the way from scores to a map."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.models.backbones import BACKBONES, BackboneName
from edge_ad.models.base import AnomalyDetector, DetectorOutput, MethodParameters
from edge_ad.models.patch_features import PatchFeatures
from edge_ad.models.smoothing import GaussianFilter

__all__ = ["FeatureDetector", "FeatureParameters"]


class FeatureParameters(MethodParameters):
    """Parameters of every detector on frozen patch features.

    Attributes:
        backbone: The frozen network.
        weights: Its weights: ``imagenet``, ``random`` (untrained, for tests of shapes), or the path of a state dict.
            A run carries them, and reads nothing again.
        levels: Strides of the backbone's levels, ascending; the first sets the grid. A command line gives ``8,16``.
        neighbourhood: Side of the square that each level is averaged over, odd; 1 leaves levels as they are.
        embedding: Channels that the patches of each level are pooled to, as the papers do; 0 keeps its own.
        sigma: Smoothing of the map, pixels.
    """

    backbone: BackboneName = "efficientnet-lite0"
    weights: str = Field(default="imagenet", min_length=1)
    levels: tuple[int, ...] = Field(default=(8, 16), min_length=1)
    neighbourhood: int = Field(default=3, ge=1, le=9)
    embedding: int = Field(default=0, ge=0, le=4096)
    sigma: float = Field(default=4.0, ge=0.1, le=64)

    @field_validator("levels", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return value.strip("()[] ").split(",") if isinstance(value, str) else value

    @field_validator("levels")
    @classmethod
    def _known(cls, levels: Sequence[int], info: ValidationInfo) -> Sequence[int]:
        if "backbone" not in info.data:  # which is wrong itself
            return levels
        backbone: BackboneName = info.data["backbone"]
        known = BACKBONES[backbone].level_channels
        if sorted(set(levels)) != list(levels) or not set(levels) <= known.keys():
            raise ValueError(f"levels of {backbone} are strides out of {sorted(known)}, ascending")
        return levels

    @field_validator("neighbourhood")
    @classmethod
    def _odd(cls, neighbourhood: int) -> int:
        if neighbourhood % 2 == 0:
            raise ValueError("a neighbourhood has an odd side")
        return neighbourhood


class FeatureDetector(AnomalyDetector):
    """A detector that scores each position of a map of frozen patch features.

    Args:
        config: Parameters.
        pretrained: Load weights into the backbone; False when a checkpoint follows.
    """

    float_modules: ClassVar[tuple[str, ...]] = ("smoothing",)
    config: FeatureParameters
    graph_form = 4  # the photo, which the backbone alone reads, is transposed late

    def __init__(self, config: FeatureParameters, *, pretrained: bool = True) -> None:
        super().__init__()
        if config.size % 32:
            raise UsageError(f"The image size {config.size} does not fit.", "Give --size a multiple of 32.")
        self.config = config
        self.patch_features = PatchFeatures(
            config.levels,
            neighbourhood=config.neighbourhood,
            pretrained=pretrained,
            backbone=config.backbone,
            weights=config.weights,
            embedding=config.embedding,
            seed=config.seed,
        )
        self.smoothing = GaussianFilter(config.sigma)

    @property
    def backbone(self) -> nn.Module | None:
        """The frozen feature network."""
        return self.patch_features

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Height and width of the feature map."""
        side = self.config.size // self.patch_features.stride
        return side, side

    @abstractmethod
    def score_patches(self, features: Tensor) -> Tensor:
        """Anomaly score of each position: (N, C, h, w) → (N, 1, h, w), any scale, higher is more anomalous."""

    def score_features(self, features: Tensor) -> DetectorOutput:
        """Map: patch scores brought to image size bilinearly and smoothed; score: their maximum."""
        size = (self.config.size, self.config.size)
        patches = self.score_patches(features)
        anomaly_map = self.smoothing(F.interpolate(patches, size, mode="bilinear", align_corners=False))
        return DetectorOutput(anomaly_map.amax((1, 2, 3)), anomaly_map)

    def forward(self, images: Tensor) -> DetectorOutput:
        """Score images."""
        return self.score_features(self.patch_features(images))
