"""What SimpleNet and its successors share: a head trained on cached features, and the way it is trained."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor

from edge_ad.models.base import DetectorOutput, Stage, TrainingBatch
from edge_ad.models.discriminators.head import PatchHead
from edge_ad.models.discriminators.metric import DefectParameters, Metric
from edge_ad.models.discriminators.standardisation import (
    CrossFit,
    Standardisation,
    StandardisationKind,
    gather_positions,
)
from edge_ad.models.feature_detector import FeatureDetector

__all__ = ["DISCRIMINATOR", "Discriminator", "DiscriminatorParameters", "PatchDiscriminator", "Patches"]

DISCRIMINATOR = "discriminator"
"""Name of the stage that trains the head."""


class DiscriminatorParameters(DefectParameters):
    """Parameters of every learned head.

    Attributes:
        standardise: How frozen features are brought to one scale before the projection.
        rank: Directions kept per position by ``standardise="local"``.
        shrinkage: Share of the common covariance in ``standardise="local"``.
        start: ``random``: a multilayer discriminator from random weights, as the papers have it. ``distance``: it
            begins as the distance to the mean and learns what to correct. ``metric``: the same, under a metric that
            was learned from pseudo-defects before.
        metric_steps: Steps of learning the metric.
        metric_learning_rate: Peak learning rate of the metric.
        hidden: Width of the discriminator's hidden layer.
        epochs: Epochs over the cached features.
        learning_rate: Peak learning rate of the projection.
        discriminator_scale: Learning rate of the discriminator over that of the projection.
        projection: What the projection begins as: ``identity``, or ``random`` as the papers' code, which needs
            ``start=random``.
        weight_decay: Weight decay of the projection, and of the discriminator unless that has its own.
        discriminator_decay: Weight decay of the discriminator; none for that of the projection.
        decoupled_decay: Whose decay is decoupled from the gradient (AdamW); that of the other is an L2 term of it
            (Adam).
        schedule: Name of a schedule in ``edge_ad.training.schedules``.
        positions: Share of the positions of an image that one step sees.
        score: ``map``: maximum of the smoothed map; ``patches``: of the patches' scores as they are, as in the papers.
    """

    standardise: StandardisationKind = "local"
    rank: int = Field(default=16, ge=1)
    shrinkage: float = Field(default=0.2, gt=0, lt=1)
    start: Literal["random", "distance", "metric"] = "metric"
    metric_steps: int = Field(default=200, ge=1)
    metric_learning_rate: float = Field(default=1e-3, gt=0, le=1)
    hidden: int = Field(default=128, ge=1, le=8192)
    epochs: int = Field(default=5, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    discriminator_scale: float = Field(default=2.0, gt=0, le=1000)
    projection: Literal["identity", "random"] = "identity"
    weight_decay: float = Field(default=1e-5, ge=0, le=1)
    discriminator_decay: float | None = Field(default=None, ge=0, le=1)
    decoupled_decay: Literal["both", "projection", "discriminator", "neither"] = "both"
    schedule: str = "one-cycle"
    positions: float = Field(default=0.0625, gt=0, le=1)
    score: Literal["map", "patches"] = "map"

    @model_validator(mode="after")
    def _has_one_start(self) -> DiscriminatorParameters:
        if self.projection == "random" and self.start != "random":
            raise ValueError(f"projection=random needs start=random; start={self.start} sets the projection")
        return self

    @property
    def decays(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settings of the optimiser for the projection and for the discriminator."""
        own = self.weight_decay if self.discriminator_decay is None else self.discriminator_decay
        projection, discriminator = (self.decoupled_decay in ("both", part) for part in ("projection", "discriminator"))
        return (
            {"weight_decay": self.weight_decay, "decoupled_weight_decay": projection},
            {"weight_decay": own, "decoupled_weight_decay": discriminator},
        )


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
    float_modules = (*FeatureDetector.float_modules, "head.standardisation.gaussian")

    def __init__(self, config: DiscriminatorParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        channels = self.patch_features.channels
        standardisation = Standardisation(
            channels, self.grid_hw, config.standardise, rank=config.rank, shrinkage=config.shrinkage
        )
        self.head = PatchHead(standardisation, channels, config.hidden, distance=config.start != "random")
        self.metric: Metric | None = None
        if config.start == "metric":
            self.metric, self.defect_kinds, self.defect_draws = Metric(channels), config.kinds, config.draws
        self._cross_fit: CrossFit | None = None
        self._standardised: Tensor | None = None

    @torch.no_grad()
    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the standardisation; what was learned on other features is forgotten."""
        self.head.standardisation.fit(fit)
        self._cross_fit = CrossFit(self.head.standardisation, fit, self.views)
        self._standardised = self._cross_fit(fit)
        if self.metric is not None:
            self.metric.start(float(self._standardised.norm(dim=2).mean()))

    @torch.no_grad()
    def fit_defects(self, features: Tensor, masks: Tensor) -> None:
        """Keep the patches that a pseudo-defect covers, for the metric."""
        assert self._cross_fit is not None
        assert self.metric is not None
        self.metric.add_defects(
            self._cross_fit(features, torch.arange(len(features))), masks, self.grid_hw, self.config.coverage
        )

    def frozen_outputs(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Standardised features (N, P, C) of the fitting images; neither images nor features are looked at again."""
        assert self._standardised is not None
        self._cross_fit = None
        return self._standardised

    def stages(self) -> Sequence[Stage]:
        """The metric, where there is one, and then the discriminator."""
        config = self.config
        discriminator = Stage(DISCRIMINATOR, config.epochs, config.learning_rate, config.schedule)
        if self.metric is None:
            return (discriminator,)
        return (Stage("metric", 0, config.metric_learning_rate, config.schedule, config.metric_steps), discriminator)

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """The metric; or the projection, and all that judges at ``discriminator_scale`` times its rate."""
        self.requires_grad_(False)
        if stage.name != DISCRIMINATOR:
            assert self.metric is not None
            self.metric.requires_grad_(True)
            return [{"params": list(self.metric.parameters()), "lr_scale": 1.0}]
        self._start_head()
        self.head.train()
        projection, discriminator = self.head.learned()
        discriminator += self.further_parameters()
        decays = self.config.decays
        groups: list[dict[str, Any]] = [
            {"params": projection, "lr_scale": 1.0, **decays[0]},
            {"params": discriminator, "lr_scale": self.config.discriminator_scale, **decays[1]},
        ]
        for group in groups:
            for parameter in group["params"]:
                parameter.requires_grad_(True)
        return groups

    @torch.no_grad()
    def _start_head(self) -> None:
        """Draw the head anew, from the metric where there is one, and fit what a method derives from it."""
        assert self._standardised is not None
        standardised, self._standardised = self._standardised, None
        mean_length = float(standardised.norm(dim=2).mean())
        is_random = self.config.projection == "random"
        self.head.start(self.config.seed, mean_length=mean_length, random_projection=is_random)
        if self.metric is not None:
            self.head.start_from(self.metric)
        self.fit_standardised(standardised.to(self.head.projection.weight.device))

    def fit_standardised(self, standardised: Tensor) -> None:
        """Fit what a method derives from standardised features (N, P, C) and the untrained projection."""

    def further_parameters(self) -> list[torch.nn.Parameter]:
        """Parameters that only training needs, beside the head's."""
        return []

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """Loss terms of the metric or of the discriminator."""
        if stage.name != DISCRIMINATOR:
            assert self.metric is not None
            _, normal = gather_positions(batch.frozen, self.config.positions, generator)
            return self.metric.loss(normal.flatten(0, 1), generator)
        return self.head_loss(batch.frozen, generator)

    @abstractmethod
    def head_loss(self, standardised: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Named loss terms of a step of the discriminator, on standardised features (N, P, C) of good images."""

    def score_patches(self, features: Tensor) -> Tensor:
        """Logits of the folded head."""
        logits: Tensor = self.head(features)
        return logits

    def score_features(self, features: Tensor) -> DetectorOutput:
        """The smoothed map, and its maximum or that of the patches."""
        if self.config.score == "map":
            return super().score_features(features)
        patches = self.score_patches(features)
        return DetectorOutput(patches.amax((1, 2, 3)), self.map_of(patches))

    def deployed(self) -> Discriminator:
        """With standardisation and projection in one form."""
        deployed = copy.deepcopy(self)
        deployed.head.merge()
        return deployed


class PatchDiscriminator(Discriminator):
    """One that judges every patch by itself, and learns from a random share of them."""

    def head_loss(self, standardised: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Project a random share of the positions of each image, and compare them with synthesised anomalies."""
        chosen, vectors = gather_positions(standardised, self.config.positions, generator)
        projected = self.head.project(vectors.flatten(0, 1)).reshape(*chosen.shape, -1)
        return self.boundary_loss(Patches(standardised, chosen, projected), generator)

    @abstractmethod
    def boundary_loss(self, patches: Patches, generator: torch.Generator) -> dict[str, Tensor]:
        """Named loss terms of a step."""
