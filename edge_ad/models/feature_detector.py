"""What detectors on frozen patch features share: parameters, the backbone, and the way from scores to a map."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.input_size import check_input_size
from edge_ad.models.backbones import BACKBONES, BackboneName, create_backbone
from edge_ad.models.base import AnomalyDetector, DetectorOutput
from edge_ad.models.picture_normalisation import InputNormalisation, PictureNormalisation, picture_mean
from edge_ad.models.robustness import LevelMatching, RobustnessParameters
from edge_ad.models.smoothing import GaussianFilter
from edge_ad.models.tiling import Tiles, by_tiles, choose_tiles, parse_tiles, spans

__all__ = [
    "FeatureDetector",
    "FeatureParameters",
    "PatchFeatures",
    "pool_patches",
    "pooling_kernel",
]

_MATCHED_LEVELS = (4, 8)
_FITTED_AT_ONCE = 8


def pooling_kernel(channels: int, width: int, neighbourhood: int) -> Tensor:
    """Kernel of the convolution that pools patches of a level to a width.

    Output j is the mean of the flattened values ``floor(j·L / width)`` to ``ceil((j + 1)·L / width)``, with
    ``L = channels · neighbourhood²``. It falls into as many groups as channels and width have in common; with
    ``width == channels`` it is the average of each channel.

    Args:
        channels: Of the level.
        width: Channels to pool to.
        neighbourhood: Side of a patch, odd.

    Returns:
        float64 (width, channels / groups, neighbourhood, neighbourhood).
    """
    groups = math.gcd(channels, width)
    outputs, length = width // groups, channels // groups * neighbourhood**2
    rows = torch.zeros(outputs, length, dtype=torch.float64)
    for row, values in enumerate(rows):
        start, end = row * length // outputs, -(-(row + 1) * length // outputs)
        values[start:end] = 1 / (end - start)
    return rows.reshape(outputs, -1, neighbourhood, neighbourhood).repeat(groups, 1, 1, 1)


def pool_patches(level: Tensor, kernel: Tensor) -> Tensor:
    """A level (N, C, h, w) as pooled patches (N, width, h, w); zeros lie beyond the border, as in the papers."""
    return F.conv2d(level, kernel, padding=kernel.shape[2] // 2, groups=level.shape[1] // kernel.shape[1])


class PatchFeatures(nn.Module):
    """Frozen backbone → patch features.

    Each level is averaged over square neighbourhoods, coarser levels are upsampled bilinearly to the finest, and all
    are concatenated. The average is a fixed grouped convolution: an average pool that shares its input with a
    quantised convolution is miscompiled by some OpenVINO versions.

    Args:
        levels: Strides of the backbone, ascending; the first sets the grid.
        neighbourhood: Side of the square that each level is averaged over, odd.
        pretrained: Load weights (False where a checkpoint follows, and for tests of shapes and export).
        backbone: Name of the backbone.
        weights: ``imagenet``, ``random`` (untrained), or the path of a state dict in its authors' names.
        embedding: Channels that the patches of each level are pooled to; 0 keeps its own.
        seed: Random weights follow from it.
        input_normalisation: ``picture``: light and contrast of each picture are brought to those of the photos.
        centring: The mean of each channel over the picture is subtracted.
        matching: Of the features at strides 4 and 8 to those of the photos, half of the way; how, or ``none``.
        size_hw: Height and width of the images, in pixels; only matching and tiles need it.
        tiles: Rows and columns of tiles by which the levels are computed, one after the other.
    """

    def __init__(
        self,
        levels: tuple[int, ...] = (8, 16),
        *,
        neighbourhood: int = 3,
        pretrained: bool = True,
        backbone: BackboneName = "efficientnet-lite0",
        weights: str = "imagenet",
        embedding: int = 0,
        seed: int = 0,
        input_normalisation: InputNormalisation = "none",
        centring: bool = False,
        matching: LevelMatching = "none",
        size_hw: tuple[int, int] = (256, 256),
        tiles: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.tiles = tuple(spans(*pair, levels[-1]) for pair in zip(size_hw, tiles, strict=True))
        self.centring = centring
        self.normalisation = PictureNormalisation() if input_normalisation == "picture" else None
        self.network = create_backbone(backbone, levels, weights=weights if pretrained else None, seed=seed)
        if matching != "none":
            self.network.add_matching(matching, _MATCHED_LEVELS, size_hw=size_hw)
        self.channels, self.stride = 0, levels[0]
        for level in levels:
            own = self.network.channels_of(level)
            kernel = pooling_kernel(own, embedding or own, neighbourhood)
            self.register_buffer(f"average_{level}", kernel.float())
            self.channels += len(kernel)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Float RGB (N, 3, H, W) in [0, 1] → features (N, C, H / stride, W / stride)."""
        if self.normalisation is not None:
            images = self.normalisation(images)
        rows, columns = self.tiles
        if len(rows) * len(columns) > 1:
            features = by_tiles(self._pooled, images, rows, columns, self.stride)
        else:
            features = self._pooled(images)
        return features - picture_mean(features) if self.centring else features

    def _pooled(self, images: Tensor) -> Tensor:
        levels = zip(self.network.levels, self.network(images), strict=True)
        pooled = [pool_patches(level, self.get_buffer(f"average_{stride}")) for stride, level in levels]
        size = pooled[0].shape[2:]
        rest = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in pooled[1:]]
        return torch.cat([pooled[0], *rest], dim=1)

    @torch.no_grad()
    def fit_photos(self, photos: Tensor) -> None:
        """Fit what brings a picture, or its features, to what photos have, uint8 RGB (N, 3, H, W)."""
        if self.normalisation is not None:
            self.normalisation.fit(photos)
        if len(self.network.matching):
            self.network.fit_matching([self._prepared(part) for part in torch.split(photos, _FITTED_AT_ONCE)])

    def _prepared(self, photos: Tensor) -> Tensor:
        images = photos / 255.0
        return images if self.normalisation is None else self.normalisation(images)


class FeatureParameters(RobustnessParameters):
    """Parameters of every detector on frozen patch features.

    Attributes:
        backbone: The frozen network.
        weights: Its weights: ``imagenet``, ``random`` (untrained, for tests of shapes), or the path of a state dict.
            A run carries them, and reads nothing again.
        levels: Strides of the backbone's levels, ascending; the first sets the grid. A command line gives ``8,16``.
            Where they are not given, the backbone's own.
        neighbourhood: Side of the square that each level is averaged over, odd; 1 leaves levels as they are.
        embedding: Channels that the patches of each level are pooled to, as the papers do; 0 keeps its own.
        sigma: Smoothing of the map, pixels.
        tiles: Tiles by which the features of a large input are computed, one after the other: ``auto``, or rows x
            columns. The features of all tiles are one map, with statistics for each place of the whole photo.
    """

    absent: ClassVar[Mapping[str, Any]] = {**RobustnessParameters.absent, "tiles": (1, 1)}
    speeds: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fast": {"backbone": "efficientnet-lite0", "size": 256},
        "balanced": {"backbone": "efficientnet-lite2", "size": 256},
        "best": {"backbone": "efficientnet-lite2", "size": 288},
    }

    backbone: BackboneName = "efficientnet-lite0"
    weights: str = Field(default="imagenet", min_length=1)
    levels: tuple[int, ...] = Field(default=(8, 16), min_length=1)
    neighbourhood: int = Field(default=3, ge=1, le=9)
    embedding: int = Field(default=0, ge=0, le=4096)
    sigma: float = Field(default=4.0, ge=0.1, le=64)
    tiles: Annotated[Tiles, BeforeValidator(parse_tiles)] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _of_the_backbone(cls, values: Any) -> Any:
        named = values.get("backbone") if isinstance(values, dict) else None
        kind = next((kind for name, kind in BACKBONES.items() if name == named), None)
        return values if kind is None or "levels" in values else {**values, "levels": kind.default_levels}

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
        if len(levels) > 1 and BACKBONES[backbone].has_one_level:
            raise ValueError(f"{backbone} gives one level at a time, out of {sorted(known)}")
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
        check_input_size(config.size, self.size_multiple(config))
        self.config = config
        self.patch_features = PatchFeatures(
            config.levels,
            neighbourhood=config.neighbourhood,
            pretrained=pretrained,
            backbone=config.backbone,
            weights=config.weights,
            embedding=config.embedding,
            seed=config.seed,
            input_normalisation=config.input_normalisation,
            centring=config.feature_centring,
            matching=config.matching,
            size_hw=config.size_hw,
            tiles=self._tiles(config),
        )
        self.smoothing = GaussianFilter(config.sigma)

    @staticmethod
    def _tiles(config: FeatureParameters) -> tuple[int, int]:
        tiles = choose_tiles(config.tiles, config.size_hw)
        if tiles != (1, 1) and config.matching != "none":  # it looks at the whole level
            if config.tiles == "auto":
                return 1, 1
            raise UsageError("Features cannot be matched tile by tile.", "Use matching=none, or tiles=1x1.")
        return tiles

    @property
    def backbone(self) -> nn.Module | None:
        """The frozen feature network."""
        return self.patch_features

    @property
    def views(self) -> int:
        """As the parameters say."""
        return self.config.views

    def fit_photos(self, photos: Tensor) -> None:
        """Fit what brings a picture, or its features, to what photos have."""
        self.patch_features.fit_photos(photos)

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Height and width of the feature map."""
        height, width = self.config.size_hw
        return height // self.patch_features.stride, width // self.patch_features.stride

    @abstractmethod
    def score_patches(self, features: Tensor) -> Tensor:
        """Anomaly score of each position: (N, C, h, w) → (N, 1, h, w), any scale, higher is more anomalous."""

    def score_features(self, features: Tensor) -> DetectorOutput:
        """Map: patch scores brought to image size bilinearly and smoothed; score: their maximum."""
        anomaly_map = self.map_of(self.score_patches(features))
        return DetectorOutput(anomaly_map.amax((1, 2, 3)), anomaly_map)

    def map_of(self, patches: Tensor) -> Tensor:
        """Patch scores (N, 1, h, w) at image size, smoothed."""
        full = F.interpolate(patches, self.config.size_hw, mode="bilinear", align_corners=False)
        smoothed: Tensor = self.smoothing(full)
        return smoothed

    def forward(self, images: Tensor) -> DetectorOutput:
        """Score images."""
        return self.score_features(self.patch_features(images))
