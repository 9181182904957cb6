"""EAR: excision and recovery (Park et al., Sci Rep 14:18872, 2024).

A single deterministic mask hides suspected defects behind a mosaic, a U-Net trained on normal images restores what
should be there, and the multi-scale gradient magnitude similarity between image and reconstruction is the anomaly map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import BeforeValidator, Field, JsonValue
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.input_size import check_input_size
from edge_ad.models.backbones.efficientnet_lite import EfficientNetLite0
from edge_ad.models.base import AnomalyDetector, DetectorOutput, Stage, TrainingBatch
from edge_ad.models.error_predictors import scale_mask
from edge_ad.models.feature_detector import PatchFeatures
from edge_ad.models.mask_sources import BackboneSaliency, ConstantMask, DinoAttention, MaskSource, PatchDistance
from edge_ad.models.mask_sources.dino import load_dino
from edge_ad.models.mask_sources.patch_distance import DistanceKind
from edge_ad.models.robustness import RobustnessParameters
from edge_ad.models.similarity import MSGMS, ssim
from edge_ad.models.smoothing import MeanFilter
from edge_ad.models.unet import UNet, Width, unet_multiple

__all__ = [
    "Composite",
    "Ear",
    "EarParameters",
    "Evidence",
    "MaskSourceName",
    "Restoration",
    "Schedule",
    "blend",
    "mosaic",
    "obfuscate",
    "relative_distance",
]

MaskSourceName = Literal["patch-distance", "backbone", "dino", "full", "none"]
Composite = Literal["auto", "none", "mask", "soft"]
Evidence = Literal["auto", "reconstruction", "fused"]
Schedule = Literal["one-cycle", "fixed", "warm-up", "sgdr"]


def mosaic(images: Tensor, scale: int) -> Tensor:
    """Average tiles of ``scale`` × ``scale`` pixels: (N, C, H, W) → the same shape."""
    return F.interpolate(_tile_means(images, scale), scale_factor=float(scale), mode="nearest")


def obfuscate(images: Tensor, mask: Tensor, scale: int) -> Tensor:
    """EAR's input ``I' = (1 - M)·I + M·mosaic(I, m)``.

    Mask and mosaic stay on their coarse grids, and the image is seen as cells of the finer one of them: an engine then
    blends in one pass, without bringing either to full size.

    Args:
        images: (N, 3, H, W) in [0, 1].
        mask: (N, 1, h, w) in [0, 1], on a grid that divides the image or is divided by that of the tiles; 1 hides a
            pixel behind its mosaic.
        scale: Side of a mosaic tile, pixels; must divide H and W.
    """
    means = _tile_means(images, scale)
    rows, columns = (max(mask.shape[axis], means.shape[axis]) for axis in (2, 3))
    means, mask = (_on_grid(part, rows, columns)[:, :, :, None, :, None] for part in (means, mask))
    count, channels, height, width = images.shape
    cells = images.reshape(count, channels, rows, height // rows, columns, width // columns)
    return (cells + mask * (means - cells)).reshape(images.shape)


def _tile_means(images: Tensor, scale: int) -> Tensor:
    """(N, C, H, W) → (N, C, H / scale, W / scale); a pooling of three channels costs engines a change of layout."""
    count, channels, height, width = images.shape
    rows = images.reshape(count, channels, height, width // scale, scale).mean(4)
    return rows.reshape(count, channels, height // scale, scale, width // scale).mean(3)


def _on_grid(values: Tensor, rows: int, columns: int) -> Tensor:
    return values if tuple(values.shape[2:]) == (rows, columns) else F.interpolate(values, (rows, columns))


def _number(value: object) -> object:
    """Digits as an integer: pydantic converts strings for every type but a literal."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


MosaicScale = Annotated[Literal[4, 8, 16, 32], BeforeValidator(_number)]

MapStride = Annotated[Literal[1, 2], BeforeValidator(_number)]

_SMOOTHED = 21  # pixels of the image, as RIAD
_GRID_STRIDE = 8
_DEEPEST_LEVEL = 16
_EVIDENCE_FLOOR = 1e-3  # of 1 - GMS; keeps the root's slope, and so rounding errors, small where nothing was changed


class EarParameters(RobustnessParameters):
    """Parameters of EAR.

    Its U-Net learns from the views too, and always sees a picture as it is; the other remedies are for patch features.

    Attributes:
        width: U-Net width.
        mask_source: Where suspected defects are.
        distance: Kind of patch distance, for ``patch-distance``.
        mask_quantile: Its threshold, a quantile of held-out good patches.
        rank: Directions kept per covariance of the Gaussian, for ``distance=gaussian``; as in ``patch-gaussian``.
        block: Side of the squares of positions that share a covariance; 1 gives each its own.
        mask_mass: Share of saliency or attention mass that is masked, for ``backbone`` and ``dino``.
        dino_model: Hub name or local folder of the ViT, for ``dino``.
        dino_config: Configuration of the ViT once it has been read; leave it out.
        mosaic: Side of a mosaic tile, pixels: 4, 8, 16 or 32.
        composite: Which pixels come from the reconstruction: all (``none``), those under the mask (``mask``), or a
            blend by suspicion (``soft``); the rest is the image itself. ``auto``: soft where the mask source locates.
        evidence: What the map is made of: ``reconstruction`` (MSGMS, as the paper), or ``fused``, which weighs the
            patch distance by the fourth root of it. ``auto``: fused where there is a patch distance.
        map_stride: Pixels of the image per pixel of the comparison, 1 or 2; the map is brought to image size.
        epochs: Epochs of EAR; 0 lets the number of images decide (about ``steps`` steps).
        steps: Steps aimed at when ``epochs`` is 0.
        learning_rate: Peak learning rate.
        schedule: Learning-rate schedule.
    """

    absent: ClassVar[Mapping[str, Any]] = {**RobustnessParameters.absent, "rank": 16, "block": 1, "map_stride": 1}

    width: Width = "pico"
    mask_source: MaskSourceName = "patch-distance"
    distance: DistanceKind = "gaussian"
    mask_quantile: float = Field(default=0.995, gt=0, lt=1)
    rank: int = Field(default=48, ge=1)
    block: int = Field(default=4, ge=1, le=8)
    mask_mass: float = Field(default=0.6, gt=0, le=1)
    dino_model: str = "facebook/dino-vits8"
    dino_config: dict[str, JsonValue] | None = None
    mosaic: MosaicScale = 16
    composite: Composite = "auto"
    evidence: Evidence = "auto"
    map_stride: MapStride = 2
    epochs: int = Field(default=0, ge=0)
    steps: int = Field(default=600, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Schedule = "one-cycle"


class Restoration(NamedTuple):
    """What `Ear.restore` finds.

    Attributes:
        reconstruction: What the U-Net gives, (N, 3, H, W) in [0, 1].
        weight: How much of it is taken, (N, 1, h, w) in [0, 1]; None for all of it.
        distance: Patch distance in units of its limit, (N, 1, h, w); None where there is none.
    """

    reconstruction: Tensor
    weight: Tensor | None
    distance: Tensor | None


class Ear(AnomalyDetector):
    """EAR detector.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.

    Raises:
        UsageError: The image size does not fit the U-Net or the mosaic.
    """

    method = "ear"
    purpose = "draws what normal should look like where something looks odd"
    parameters_type = EarParameters
    float_modules: ClassVar[tuple[str, ...]] = ("mask_source", "msgms", "smoothing")
    config: EarParameters

    def __init__(self, config: EarParameters, *, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet(config.width)
        multiple = self.size_multiple(config)
        check_input_size(config.size, multiple, 2 * multiple)
        self.grid_hw = (config.size_hw[0] // _GRID_STRIDE, config.size_hw[1] // _GRID_STRIDE)
        self.patch_features = self._create_features(pretrained) if self._needs_features() else None
        self.mask_source = self._create_mask_source()
        if config.evidence == "fused" and not self.has_distance():
            raise UsageError("There is no patch distance to fuse.", "Use mask_source=patch-distance, or evidence=auto.")
        self.msgms = MSGMS()
        self.smoothing = MeanFilter(_SMOOTHED // config.map_stride | 1)  # odd

    @classmethod
    def create(cls, config: EarParameters) -> Ear:
        """A new detector; a ViT as mask source is loaded, and its shape recorded in the parameters.

        Raises:
            UsageError: The ViT cannot be loaded.
        """
        if config.mask_source != "dino":
            return cls(config)
        vit_config, vit = load_dino(config.dino_model)
        torch.manual_seed(config.seed)  # whatever loading drew
        detector = cls(config.model_copy(update={"dino_config": vit_config}))
        detector.get_submodule("mask_source.vit").load_state_dict(vit)
        return detector

    @classmethod
    def size_multiple(cls, config: EarParameters) -> int:
        """What the U-Net halves, and the mosaic divides."""
        return max(unet_multiple(config.width), config.mosaic)

    def _create_features(self, pretrained: bool) -> PatchFeatures:
        return PatchFeatures(
            pretrained=pretrained,
            input_normalisation=self.config.input_normalisation,
            centring=self.config.feature_centring,
            matching=self.config.matching,
            size_hw=self.config.size_hw,
        )

    def _needs_features(self) -> bool:
        return self.config.mask_source in ("patch-distance", "backbone")

    def has_distance(self) -> bool:
        """Whether it knows a patch distance."""
        return self.config.mask_source == "patch-distance"

    def _create_patch_distance(self) -> PatchDistance:
        assert self.patch_features is not None
        config = self.config
        return PatchDistance(
            self.patch_features.channels,
            self.grid_hw,
            kind=config.distance,
            quantile=config.mask_quantile,
            rank=config.rank,
            block=config.block,
            seed=config.seed,
        )

    def _create_mask_source(self) -> MaskSource:
        config = self.config
        if config.mask_source == "patch-distance":
            return self._create_patch_distance()
        if config.mask_source == "backbone":
            return BackboneSaliency(EfficientNetLite0.level_channels[_DEEPEST_LEVEL], config.mask_mass)
        if config.mask_source == "dino":
            return _create_dino(config, self.grid_hw)
        return ConstantMask(1.0 if config.mask_source == "full" else 0.0, _GRID_STRIDE)

    @property
    def backbone(self) -> nn.Module | None:
        """The frozen feature network, when the mask source needs one."""
        return self.patch_features

    @property
    def views(self) -> int:
        """As the parameters say."""
        return self.config.views

    def fit_photos(self, photos: Tensor) -> None:
        """Fit what brings a picture, or its features, to what photos have."""
        if self.patch_features is not None:
            self.patch_features.fit_photos(photos)

    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the mask source."""
        self.mask_source.fit(fit, held_out)

    @torch.no_grad()
    def frozen_outputs(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Suspicion of the fitting images, (N, 1, h, w), as an image that was not fitted would get it."""
        return self.mask_source.cross_fitted(images, features, self.views)

    def stages(self) -> Sequence[Stage]:
        """One stage: the U-Net."""
        config = self.config
        return (Stage("ear", config.epochs, config.learning_rate, config.schedule, config.steps),)

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """Train the whole U-Net, nothing else."""
        self.eval()
        self.requires_grad_(False)
        self.unet.train().requires_grad_(True)
        return [{"params": self.trainable(), "lr_scale": 1.0}]

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """L2 + SSIM + MSGMS between image and reconstruction, weights 1."""
        reconstruction = self.unet(self._obfuscate(batch.images, batch.frozen[:, :1])).float()
        return self.reconstruction_loss(batch.images, reconstruction)

    def reconstruction_loss(self, images: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
        """The three terms of EAR's loss, each a scalar."""
        with torch.autocast(images.device.type, enabled=False):
            return {
                "l2": F.mse_loss(reconstruction, images),
                "ssim": (1 - ssim(reconstruction, images)).mean(),
                "msgms": self.msgms.loss(reconstruction, images),
            }

    def forward(self, images: Tensor) -> DetectorOutput:
        """Score images by what the reconstruction changed, and where there is a patch distance by that too."""
        restored = self.restore(images)
        # MSGMS looks at the mean of the channels, and a blend of means is the mean of the blend: one channel.
        grey, restored_grey = (self._compared(part) for part in (images, restored.reconstruction))
        anomaly_map = self.smoothing(self.msgms(grey, blend(grey, restored_grey, restored.weight)))
        if restored.distance is not None and self.config.evidence != "reconstruction":
            distance = _resized(restored.distance, grey.shape[2:])
            anomaly_map = distance * (anomaly_map + _EVIDENCE_FLOOR).sqrt().sqrt()  # a power of 1/4 is ten times slower
        anomaly_map = _resized(anomaly_map, images.shape[2:])
        return DetectorOutput(anomaly_map.amax((1, 2, 3)), anomaly_map)

    def _compared(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) → the mean of the channels as it is compared, (N, 1, H / stride, W / stride)."""
        grey, stride = images.mean(1, keepdim=True), self.config.map_stride
        return grey if stride == 1 else F.avg_pool2d(grey, stride)

    def reconstruct(self, images: Tensor) -> Tensor:
        """What normal would look like here, (N, 3, H, W) in [0, 1]."""
        restored = self.restore(images)
        return blend(images, restored.reconstruction, restored.weight)

    def restore(self, images: Tensor) -> Restoration:
        """Reconstruct images (N, 3, H, W) in [0, 1], and say how much of it to take."""
        features = None if self.patch_features is None else self.patch_features(images)
        suspicion = self.mask_source(images, features)
        reconstruction = self.unet(self._obfuscate(images, suspicion))
        return Restoration(
            reconstruction,
            self._weight(suspicion, None),
            relative_distance(self.mask_source, suspicion),
        )

    def _obfuscate(self, images: Tensor, suspicion: Tensor) -> Tensor:
        return obfuscate(images, self.mask_source.binary(suspicion), self.config.mosaic)

    def _weight(self, suspicion: Tensor, trust: Tensor | None) -> Tensor | None:
        """Share of the reconstruction, (N, 1, h, w): unsuspected pixels come from the image, as in inpainting.

        Args:
            suspicion: Of the mask source, (N, 1, h, w).
            trust: FADeR's soft mask (N, 1, h', w'), if any: what it distrusts is reconstructed too.

        Returns:
            None where all pixels come from the reconstruction.
        """
        composite = self.config.composite
        if composite == "auto":
            composite = "soft" if self.mask_source.locates else "none"
        if composite == "none":
            return None
        weight = self.mask_source.binary(suspicion) if composite == "mask" else self.mask_source.soft(suspicion)
        if trust is not None:
            height, width = max(tuple(weight.shape[2:]), tuple(trust.shape[2:]))  # the finer grid loses no patch
            doubt = scale_mask(1 - trust, (height, width), "nearest")
            weight = torch.maximum(scale_mask(weight, (height, width), "nearest"), doubt)
        return weight


def blend(images: Tensor, reconstruction: Tensor, weight: Tensor | None) -> Tensor:
    """``I + w·(R - I)``, (N, C, H, W); the reconstruction where there is no weight, (N, 1, h, w) on any grid."""
    if weight is None:
        return reconstruction
    return images + _resized(weight, images.shape[2:]) * (reconstruction - images)


def _resized(values: Tensor, size_hw: torch.Size) -> Tensor:
    if values.shape[2:] == size_hw:
        return values
    return F.interpolate(values, size_hw, mode="bilinear", align_corners=False)


def relative_distance(source: MaskSource, suspicion: Tensor) -> Tensor | None:
    """A patch distance in units of its limit; None for a source that is not one."""
    return suspicion / source.get_buffer("limit") if isinstance(source, PatchDistance) else None


def _create_dino(config: EarParameters, grid_hw: tuple[int, int]) -> DinoAttention:
    if config.dino_config is None:
        raise UsageError("The ViT has not been read yet.", "Create the detector with edge_ad.models.create_detector.")
    return DinoAttention(dict(config.dino_config), grid_hw, config.mask_mass)
