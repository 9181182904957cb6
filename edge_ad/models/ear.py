"""EAR: excision and recovery (Park et al., Sci Rep 14:18872, 2024).

A single deterministic mask hides suspected defects behind a mosaic, a U-Net trained on normal images restores what
should be there, and the multi-scale gradient magnitude similarity between image and reconstruction is the anomaly map.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.input_size import check_input_size
from edge_ad.models.base import AnomalyDetector, DetectorOutput, Stage, TrainingBatch
from edge_ad.models.error_predictors import scale_mask
from edge_ad.models.feature_detector import PatchFeatures
from edge_ad.models.inpainting_publications import EAR
from edge_ad.models.mask_sources import MaskSource, MaskSourceParameters, PatchDistance, TrainedMaskSource
from edge_ad.models.mask_sources.registry import MASK_SOURCES, create_mask_source, create_patch_distance
from edge_ad.models.published import Publication
from edge_ad.models.similarity import MSGMS, ssim
from edge_ad.models.smoothing import MeanFilter
from edge_ad.models.unet import UNet, Width, unet_multiple

__all__ = [
    "Composite",
    "Ear",
    "EarParameters",
    "Evidence",
    "Masks",
    "Restoration",
    "Schedule",
    "blend",
    "mosaic",
    "obfuscate",
    "relative_distance",
]

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

_EVIDENCE_FLOOR = 1e-3  # of 1 - GMS; keeps the root's slope, and so rounding errors, small where nothing was changed


class EarParameters(MaskSourceParameters):
    """Parameters of EAR.

    Its U-Net learns from the views too, and always sees a picture as it is; the other remedies are for patch features.

    Attributes:
        width: U-Net width.
        mosaic: Side of a mosaic tile, pixels: 4, 8, 16 or 32.
        composite: Which pixels come from the reconstruction: all (``none``), those under the mask (``mask``), or a
            blend by suspicion (``soft``); the rest is the image itself. ``auto``: soft where the mask source locates.
        evidence: What the map is made of: ``reconstruction`` (MSGMS, as the paper), or ``fused``, which weighs the
            patch distance by the fourth root of it. ``auto``: fused where there is a patch distance.
        epochs: Epochs of EAR; 0 lets the number of images decide (about ``steps`` steps).
        steps: Steps aimed at when ``epochs`` is 0.
        learning_rate: Peak learning rate.
        schedule: Learning-rate schedule.
    """

    publication: ClassVar[Publication | None] = EAR
    smallest: ClassVar[Mapping[str, Any]] = {"width": "pico"}

    width: Width = "pico"
    mosaic: MosaicScale = 16
    composite: Composite = "auto"
    evidence: Evidence = "auto"
    epochs: int = Field(default=0, ge=0)
    steps: int = Field(default=600, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Schedule = "one-cycle"


class Restoration(NamedTuple):
    """What `Ear.restore` finds.

    Attributes:
        reconstruction: What the U-Net gives, (N, 3, H, W) in [0, 1].
        weight: How much of it is taken, (N, 1, H, W) in [0, 1]; None for all of it.
        distance: Patch distance in units of its limit, (N, 1, h, w); None where there is none.
    """

    reconstruction: Tensor
    weight: Tensor | None
    distance: Tensor | None


class Masks(NamedTuple):
    """What `Ear.masks` finds.

    Attributes:
        hidden: The binary mask of the mask source, (N, 1, h, w) in {0, 1}; 1 is behind the mosaic.
        trust: FADeR's soft mask, (N, 1, h', w') in [0, 1]; 0 is attenuated. None without FADeR.
    """

    hidden: Tensor
    trust: Tensor | None


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
    compiled_modules = ("unet",)
    float_modules: ClassVar[tuple[str, ...]] = ("mask_source", "msgms", "smoothing")
    config: EarParameters

    def __init__(self, config: EarParameters, *, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet(config.width)
        multiple = self.size_multiple(config)
        check_input_size(config.size, multiple, 2 * multiple)
        self.patch_features = self._create_features(pretrained) if self._needs_features() else None
        self.mask_source = create_mask_source(config, self._channels())
        if config.evidence == "fused" and not self.has_distance():
            raise UsageError("There is no patch distance to fuse.", "Use mask_source=patch-distance, or evidence=auto.")
        self.msgms = MSGMS()
        self.smoothing = MeanFilter()
        if pretrained and isinstance(self.mask_source, TrainedMaskSource):
            self.simulator = self.mask_source.simulator([stage.name for stage in self.stages()])

    @classmethod
    def create(cls, config: EarParameters) -> Ear:
        """A new detector; the mask source's network is read, and its shape recorded in the parameters.

        Raises:
            UsageError: That network cannot be read.
        """
        kind = MASK_SOURCES[config.mask_source]
        if kind.read is None:
            return cls(config)
        network, state = kind.read(config.mask_model or kind.default_model, config)
        torch.manual_seed(config.seed)  # whatever reading drew
        detector = cls(config.model_copy(update={"mask_config": network}))
        detector.mask_source.load_state_dict(state)
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
        return MASK_SOURCES[self.config.mask_source].needs_features

    def _channels(self) -> int:
        return 0 if self.patch_features is None else self.patch_features.channels

    def has_distance(self) -> bool:
        """Whether it knows a patch distance."""
        return self.config.mask_source == "patch-distance"

    def _create_patch_distance(self) -> PatchDistance:
        return create_patch_distance(self.config, self._channels())

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
        """Suspicion of the fitting images, as an image that was not fitted would get it.

        Returns:
            (N, 1, h, w); (N, 0, h, w) of a mask source that has yet to be trained.
        """
        if isinstance(self.mask_source, TrainedMaskSource):
            return images.new_zeros((len(images), 0, *self.config.grid_hw))
        return self.mask_source.cross_fitted(images, features, self.views)

    def stages(self) -> Sequence[Stage]:
        """Those of a mask source that is trained; then the U-Net."""
        config = self.config
        first = self.mask_source.stages() if isinstance(self.mask_source, TrainedMaskSource) else ()
        return (*first, Stage("ear", config.epochs, config.learning_rate, config.schedule, config.steps))

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """Train the whole U-Net, nothing else; or before it what the mask source trains."""
        self.eval()
        self.requires_grad_(False)
        if (source := self.trained_by(stage)) is not None:
            source.start_stage(stage)
        else:
            self.unet.train().requires_grad_(True)
        return [{"params": self.trainable(), "lr_scale": 1.0}]

    def trained_by(self, stage: Stage) -> TrainedMaskSource | None:
        """The mask source, where the stage is one of its own."""
        source = self.mask_source
        if isinstance(source, TrainedMaskSource) and stage.name in {each.name for each in source.stages()}:
            return source
        return None

    def end_stage(self, stage: Stage, fit: Iterable[Tensor], held_out: Iterable[Tensor]) -> None:
        """Take the limit of a mask source that is trained."""
        source = self.trained_by(stage)
        if source is not None and stage.name == source.stages()[-1].name:
            source.calibrate(fit, held_out)

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """L2 + SSIM + MSGMS between image and reconstruction, weights 1; or the loss of the mask source."""
        if (source := self.trained_by(stage)) is not None:
            return source.training_loss(batch, stage, generator)
        reconstruction = self.unet(self._obfuscate(batch.images, self._suspicion_of(batch))).float()
        return self.reconstruction_loss(batch.images, reconstruction)

    def _suspicion_of(self, batch: TrainingBatch) -> Tensor:
        """Suspicion of a batch of fitting images, (N, 1, h, w)."""
        if not isinstance(self.mask_source, TrainedMaskSource):
            return batch.frozen[:, :1]
        with torch.no_grad():
            return self.mask_source.of_fitted(batch.images).float()

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
        grey, restored_grey = (part.mean(1, keepdim=True) for part in (images, restored.reconstruction))
        anomaly_map = self.smoothing(self.msgms(grey, blend(grey, restored_grey, restored.weight)))
        if restored.distance is not None and self.config.evidence != "reconstruction":
            distance = F.interpolate(restored.distance, images.shape[2:], mode="bilinear", align_corners=False)
            anomaly_map = distance * (anomaly_map + _EVIDENCE_FLOOR).sqrt().sqrt()  # a power of 1/4 is ten times slower
        return DetectorOutput(anomaly_map.amax((1, 2, 3)), anomaly_map)

    def deployed(self) -> Ear:
        """With the mask source as it is exported."""
        source = self.mask_source.deployed(self.config.size_hw)
        if source is self.mask_source:
            return self
        deployed = copy.deepcopy(self)
        deployed.mask_source = source
        return deployed

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
            self._weight(images, suspicion, None),
            relative_distance(self.mask_source, suspicion),
        )

    def masks(self, images: Tensor) -> Masks:
        """Where images (N, 3, H, W) in [0, 1] are hidden, and where their features are attenuated."""
        features = None if self.patch_features is None else self.patch_features(images)
        return Masks(self.mask_source.binary(self.mask_source(images, features)), None)

    def _obfuscate(self, images: Tensor, suspicion: Tensor) -> Tensor:
        return obfuscate(images, self.mask_source.binary(suspicion), self.config.mosaic)

    def _weight(self, images: Tensor, suspicion: Tensor, trust: Tensor | None) -> Tensor | None:
        """Share of the reconstruction, (N, 1, H, W): unsuspected pixels come from the image, as in inpainting.

        Args:
            images: (N, 3, H, W).
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
        return F.interpolate(weight, images.shape[2:], mode="bilinear", align_corners=False)


def blend(images: Tensor, reconstruction: Tensor, weight: Tensor | None) -> Tensor:
    """``I + w·(R - I)``, (N, C, H, W); the reconstruction where there is no weight (N, 1, H, W)."""
    return reconstruction if weight is None else images + weight * (reconstruction - images)


def relative_distance(source: MaskSource, suspicion: Tensor) -> Tensor | None:
    """A patch distance in units of its limit; None for a source that is not one."""
    return suspicion / source.get_buffer("limit") if isinstance(source, PatchDistance) else None
