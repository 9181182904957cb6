"""What SimpleNet, PBAS and boundary shuffling share: a head trained on cached features, and the way it is trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from edge_ad.models.base import Stage, TrainingBatch
from edge_ad.models.discriminators.head import PatchHead
from edge_ad.models.discriminators.positions import draw_positions
from edge_ad.models.discriminators.standardisation import Standardisation, StandardisationKind
from edge_ad.models.feature_detector import FeatureDetector, FeatureParameters

__all__ = ["Discriminator", "DiscriminatorParameters", "Patches"]


class DiscriminatorParameters(FeatureParameters):
    """Parameters of every learned head.

    Attributes:
        standardise: How frozen features are brought to one scale before the projection.
        rank: Directions kept per position by ``standardise="local"``.
        shrinkage: Share of the common covariance in ``standardise="local"``.
        start_from_distance: The discriminator begins as the distance to the mean and learns what to correct.
        hidden: Width of the discriminator's hidden layer.
        epochs: Epochs over the cached features.
        learning_rate: Peak learning rate of the projection.
        discriminator_scale: Learning rate of the discriminator over that of the projection.
        weight_decay: Decoupled weight decay.
        schedule: Name of a schedule in ``edge_ad.training.schedules``.
        positions: Share of the positions of an image that one step sees.
    """

    standardise: StandardisationKind = "local"
    rank: int = Field(default=16, ge=1)
    shrinkage: float = Field(default=0.2, gt=0, lt=1)
    start_from_distance: bool = True
    hidden: int = Field(default=128, ge=1, le=8192)
    epochs: int = Field(default=5, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    discriminator_scale: float = Field(default=2.0, gt=0, le=1000)
    weight_decay: float = Field(default=1e-5, ge=0, le=1)
    schedule: str = "one-cycle"
    positions: float = Field(default=0.25, gt=0, le=1)


class Patches(NamedTuple):
    """Patches of a batch that one step sees.

    Attributes:
        all: (N, P, C) standardised features of every position of N images.
        chosen: (N, M) positions that the step looks at.
        projected: (N, M, C) projected features of the chosen positions.
    """

    all: Tensor
    chosen: Tensor
    projected: Tensor


class Discriminator(FeatureDetector):
    """A projection and a discriminator on frozen features; its epochs see the features alone, never an image.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    config: DiscriminatorParameters
    trains_on_features: ClassVar[bool] = True

    def __init__(self, config: DiscriminatorParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        channels = self.patch_features.channels
        standardisation = Standardisation(
            channels, self.grid_hw, config.standardise, rank=config.rank, shrinkage=config.shrinkage
        )
        self.head = PatchHead(standardisation, channels, config.hidden, distance=config.start_from_distance)
        self._standardised: Tensor | None = None

    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the standardisation and draw the head anew: what was learned on other features is of no use."""
        self.head.standardisation.fit(fit)
        self._standardised = self.head.standardisation.cross_fitted(fit)
        self.head.start(self.config.seed, mean_length=float(self._standardised.norm(dim=2).mean()))
        self.fit_standardised(self._standardised)

    def fit_standardised(self, standardised: Tensor) -> None:
        """Fit what a method derives from standardised features (N, P, C) and the untrained projection."""

    @torch.no_grad()
    def frozen_outputs(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Standardised features (N, P, C) of the fitting images; neither images nor features are looked at again."""
        assert self._standardised is not None
        standardised, self._standardised = self._standardised, None
        return standardised

    def stages(self) -> Sequence[Stage]:
        """One stage of ``epochs``."""
        config = self.config
        return (Stage("discriminator", config.epochs, config.learning_rate, config.schedule),)

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """The projection at the stage's learning rate, all that judges at ``discriminator_scale`` times it."""
        self.requires_grad_(False)
        self.head.train()
        projection, discriminator = self.head.learned()
        discriminator += self.further_parameters()
        decay = {"weight_decay": self.config.weight_decay, "decoupled_weight_decay": True}
        groups: list[dict[str, Any]] = [
            {"params": projection, "lr_scale": 1.0, **decay},
            {"params": discriminator, "lr_scale": self.config.discriminator_scale, **decay},
        ]
        for group in groups:
            for parameter in group["params"]:
                parameter.requires_grad_(True)
        return groups

    def further_parameters(self) -> list[torch.nn.Parameter]:
        """Parameters that only training needs, beside the head's."""
        return []

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """Project a random share of the positions of each image, and compare them with synthesised anomalies."""
        standardised = batch.frozen
        images, positions, _ = standardised.shape
        chosen = draw_positions(images, positions, self.config.positions, generator).to(standardised.device)
        vectors = standardised.gather(1, chosen[..., None].expand(-1, -1, standardised.shape[2]))
        projected = self.head.project(vectors.flatten(0, 1)).reshape(*chosen.shape, -1)
        return self.boundary_loss(Patches(standardised, chosen, projected), generator)

    @abstractmethod
    def boundary_loss(self, patches: Patches, generator: torch.Generator) -> dict[str, Tensor]:
        """Named loss terms of a step."""

    def score_patches(self, features: Tensor) -> Tensor:
        """Logits of the folded head."""
        logits: Tensor = self.head(features)
        return logits
