"""FADeR: feature attenuation of defective representation (Park et al. 2024), on top of a trained EAR.

A predictor guesses the reconstruction error of each patch of the obfuscated image; the soft mask made of it attenuates
the encoder features on the skips, so that what the mask missed is not simply passed on. The decoder is fine-tuned with
it, the encoder stays frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from edge_ad.models.base import Stage, TrainingBatch
from edge_ad.models.ear import Ear, EarParameters, Masks, Restoration, Schedule, relative_distance
from edge_ad.models.error_predictors import (
    Masking,
    MlpPredictor,
    Normalisation,
    Scaling,
    SoftMask,
    VitPredictor,
    patch_errors,
    ranking_loss,
    scale_mask,
)
from edge_ad.models.inpainting_publications import FADER
from edge_ad.models.mask_sources import PatchDistance
from edge_ad.models.published import Publication

__all__ = ["Fader", "FaderParameters", "PredictorName"]

PredictorName = Literal["mlp", "vit", "distance", "constant", "ones"]


class FaderParameters(EarParameters):
    """Parameters of FADeR; those of EAR describe its first stage.

    Attributes:
        predictor: ``mlp`` (the paper), ``vit`` (its Table 3), ``distance`` (ours: the patch distance to normal
            features), and two controls: ``constant`` (the same attenuation everywhere), ``ones`` (fine-tuning alone).
        constant: Soft mask of the ``constant`` control.
        hidden: Hidden width of the predictor.
        normalisation: How errors become (0, 1).
        anchor: Standard deviations above normal where the sigmoid is 0.5.
        masking: Soft or hard mask.
        scaling: How the mask is brought to the size of a skip.
        margin: ξ of the ranking loss.
        fader_epochs: Epochs of the second stage; the paper takes 100. 0 lets the number of images decide.
        fader_steps: Steps aimed at when ``fader_epochs`` is 0.
        fader_learning_rate: η of the predictor.
        fader_schedule: Learning-rate schedule.
        decoder_scale: The decoder learns with this share of η.
    """

    publication: ClassVar[Publication | None] = FADER
    smallest: ClassVar[Mapping[str, Any]] = {**EarParameters.smallest, "hidden": 16}

    predictor: PredictorName = "distance"
    constant: float = Field(default=0.2, ge=0, le=1)
    hidden: int = Field(default=128, ge=1)
    normalisation: Normalisation = "sigmoid"
    anchor: float = 2.33
    masking: Masking = "soft"
    scaling: Scaling = "nearest"
    margin: float = Field(default=1.0, gt=0)
    fader_epochs: int = Field(default=0, ge=0)
    fader_steps: int = Field(default=300, ge=1)
    fader_learning_rate: float = Field(default=1e-3, gt=0)
    fader_schedule: Schedule = "warm-up"
    decoder_scale: float = Field(default=0.1, ge=0)


class Fader(Ear):
    """FADeR detector.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    method = "fader"
    purpose = "draws what normal should look like, with defects attenuated on the way; on top of ear"
    parameters_type = FaderParameters
    continues = "ear"
    float_modules = (*Ear.float_modules, "predictor", "soft_mask", "own_distance")
    config: FaderParameters

    def __init__(self, config: FaderParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        self.config = config
        self.predictor = self._create_predictor()
        self.soft_mask = SoftMask(config.normalisation, config.anchor, config.masking)
        own_distance = config.predictor == "distance" and not isinstance(self.mask_source, PatchDistance)
        self.own_distance = self._create_patch_distance() if own_distance else None

    def _needs_features(self) -> bool:
        return super()._needs_features() or self.has_distance()

    def has_distance(self) -> bool:
        """Whether it knows a patch distance."""
        wants_distance = isinstance(self.config, FaderParameters) and self.config.predictor == "distance"
        return super().has_distance() or wants_distance

    def _create_predictor(self) -> nn.Module | None:
        config = self.config
        if config.predictor == "mlp":
            return MlpPredictor(config.mosaic, config.hidden)
        if config.predictor == "vit":
            height, width = config.size_hw
            return VitPredictor(config.mosaic, (height // config.mosaic, width // config.mosaic), hidden=config.hidden)
        return None

    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the mask source and, where it is another one, the distance of the predictor."""
        super().fit_features(fit, held_out)
        if self.own_distance is not None:
            self.own_distance.fit(fit, held_out)

    @torch.no_grad()
    def frozen_outputs(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, 0 to 2, h, w): suspicion as EAR has it and, where it is another one, the predictor's distance."""
        suspicion = super().frozen_outputs(images, features)
        if self.own_distance is None:
            return suspicion
        return torch.cat([suspicion, self.own_distance.cross_fitted(images, features, self.views)], dim=1)

    def stages(self) -> Sequence[Stage]:
        """EAR's first, then FADeR."""
        config = self.config
        rate, schedule = config.fader_learning_rate, config.fader_schedule
        return (*super().stages(), Stage("fader", config.fader_epochs, rate, schedule, config.fader_steps))

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """Second stage: the predictor at η, the decoder at 0.1 η, the encoder frozen with its statistics."""
        groups = super().start_stage(stage)
        if stage.name != "fader":
            return groups
        self.unet.encoder.eval().requires_grad_(False)
        decoder = [*self.unet.decoder.parameters(), *self.unet.head.parameters()]
        groups = [{"params": decoder, "lr_scale": self.config.decoder_scale}]
        if self.predictor is not None:
            self.predictor.train().requires_grad_(True)
            groups.append({"params": list(self.predictor.parameters()), "lr_scale": 1.0})
        return groups

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """Second stage: EAR's loss through the attenuated skips, and the ranking loss of the predictor."""
        if stage.name != "fader":
            return super().training_loss(batch, stage, generator)
        suspicion = self._suspicion_of(batch)
        obfuscated = self._obfuscate(batch.images, suspicion)
        predicted = None if self.predictor is None else self.predictor(obfuscated).float()
        if predicted is not None:
            self.soft_mask.update(predicted.detach())
        distance = suspicion if self.own_distance is None else batch.frozen[:, -1:]
        trust = self._trust(distance, predicted if predicted is None else predicted.detach())
        with torch.no_grad():
            features = self.unet.encode(obfuscated)
        reconstruction = self.unet.decode(features, self._skip_masks(trust, features)).float()
        losses = self.reconstruction_loss(batch.images, reconstruction)
        if predicted is not None:
            target = patch_errors(batch.images, reconstruction.detach(), self.config.mosaic)
            losses["rank"] = ranking_loss(predicted, target, generator, margin=self.config.margin)
        return losses

    def restore(self, images: Tensor) -> Restoration:
        """Reconstruct images (N, 3, H, W) in [0, 1] through attenuated skips, and say how much of it to take."""
        suspicion, obfuscated, distance, trust = self._look(images)
        encoded = self.unet.encode(obfuscated)
        reconstruction = self.unet.decode(encoded, self._skip_masks(trust, encoded))
        located = trust if self.config.predictor in ("mlp", "vit", "distance") else None
        source = self.mask_source if self.own_distance is None else self.own_distance
        return Restoration(
            reconstruction, self._weight(images, suspicion, located), relative_distance(source, distance)
        )

    def masks(self, images: Tensor) -> Masks:
        """Where images (N, 3, H, W) in [0, 1] are hidden, and where their features are attenuated."""
        suspicion, _, _, trust = self._look(images)
        return Masks(self.mask_source.binary(suspicion), trust)

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Suspicion, obfuscated images, distance and the soft mask of images."""
        features = None if self.patch_features is None else self.patch_features(images)
        suspicion = self.mask_source(images, features)
        obfuscated = self._obfuscate(images, suspicion)
        distance = suspicion if self.own_distance is None else self.own_distance(images, features)
        return (
            suspicion,
            obfuscated,
            distance,
            self._trust(distance, None if self.predictor is None else self.predictor(obfuscated)),
        )

    def _trust(self, distance: Tensor, predicted: Tensor | None) -> Tensor:
        """The soft mask M_S (N, 1, h, w): from predicted errors, from the patch distance, or a control's constant."""
        if predicted is not None:
            mask: Tensor = self.soft_mask(predicted)
            return mask
        if self.config.predictor == "distance":
            source = self.mask_source if self.own_distance is None else self.own_distance
            return self.soft_mask.flip(source.soft(distance))
        return torch.full_like(distance, self.config.constant if self.config.predictor == "constant" else 1.0)

    def _skip_masks(self, trust: Tensor, features: list[Tensor]) -> list[Tensor]:
        """M_S at the size of each skip, depths 1 to D - 1."""
        sizes = [(int(feature.shape[2]), int(feature.shape[3])) for feature in features[:-1]]
        return [scale_mask(trust, size, self.config.scaling) for size in sizes]
