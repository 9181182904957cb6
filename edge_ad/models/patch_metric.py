"""A Gaussian per position whose metric is learned: ``d(x) = |P S_p^(-1/2) (x - μ_p)|``, P beginning as the identity.

The learned boundary that pays on a small backbone. It starts as ``patch-gaussian``, and what it learns is only which
directions of the whitened features count: 152 × 152 numbers cannot learn the look of the pseudo-defects that they are
trained on, as a multilayer discriminator does.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.data.pseudo_defects import KINDS
from edge_ad.models.base import Stage, TrainingBatch
from edge_ad.models.discriminators.losses import cross_entropy
from edge_ad.models.discriminators.positions import draw_positions
from edge_ad.models.feature_detector import FeatureDetector, FeatureParameters
from edge_ad.models.gaussian import PositionGaussian

__all__ = ["PatchMetric", "PatchMetricParameters"]

_FOLDS = 5
_START_SCALE, _START_OFFSET = 3.0, -3.0  # logit 0 at the mean distance of normal patches


class PatchMetricParameters(FeatureParameters):
    """Parameters of the learned metric.

    Attributes:
        rank: Directions kept per position.
        shrinkage: Share of the common covariance.
        kinds: Kinds of pseudo-defects that it learns from.
        draws: Pseudo-defects painted on each fitting image.
        coverage: Share of a patch that a pseudo-defect must cover for the patch to count as defective.
        steps: Steps aimed at.
        epochs: Epochs; 0 lets ``steps`` and the number of images decide.
        learning_rate: Peak learning rate.
        schedule: Name of a schedule in ``edge_ad.training.schedules``.
        positions: Share of the positions of an image that one step sees.
    """

    rank: int = Field(default=16, ge=1)
    shrinkage: float = Field(default=0.2, gt=0, lt=1)
    kinds: tuple[str, ...] = Field(default=("perlin", "cutpaste", "blur"), min_length=1)
    draws: int = Field(default=2, ge=1, le=64)
    coverage: float = Field(default=0.3, ge=0, lt=1)
    steps: int = Field(default=200, ge=1)
    epochs: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    schedule: str = "one-cycle"
    positions: float = Field(default=0.25, gt=0, le=1)

    @field_validator("kinds", mode="before")
    @classmethod
    def _split_kinds(cls, value: Any) -> Any:
        return value.strip("()[] ").split(",") if isinstance(value, str) else value

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, kinds: Sequence[str]) -> Sequence[str]:
        if unknown := sorted(set(kinds) - set(KINDS)):
            raise ValueError(f"{', '.join(unknown)}: not out of {', '.join(KINDS)}")
        return kinds


class PatchMetric(FeatureDetector):
    """Mahalanobis distance under a metric learned from pseudo-defects.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    method: ClassVar[str] = "patch-metric"
    trains_on_features: ClassVar[bool] = True
    config: PatchMetricParameters

    def __init__(self, config: PatchMetricParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        self.defect_kinds, self.defect_draws = config.kinds, config.draws
        channels = self.patch_features.channels
        self.gaussian = PositionGaussian(channels, self.grid_hw, rank=config.rank, shrinkage=config.shrinkage)
        self.metric = nn.Linear(channels, channels, bias=False).requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(()), requires_grad=False)
        self.offset = nn.Parameter(torch.zeros(()), requires_grad=False)
        self._folds: list[PositionGaussian] = []
        self._defects: list[Tensor] = []

    @torch.no_grad()
    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the Gaussian, once on all and once without each fifth: a patch is learned from as if it were new."""
        self.gaussian.fit(fit)
        fold_of = torch.arange(len(fit)) % min(_FOLDS, len(fit))
        self._folds, self._defects = [], []
        for fold in range(int(fold_of.max()) + 1):
            self._folds.append(copy.deepcopy(self.gaussian))
            self._folds[-1].fit(fit[fold_of != fold])
        nn.init.eye_(self.metric.weight)
        distance = self._cross_fitted(fit).norm(dim=2).mean()
        self.scale.fill_(_START_SCALE / float(distance))
        self.offset.fill_(_START_OFFSET)

    @torch.no_grad()
    def fit_defects(self, features: Tensor, masks: Tensor) -> None:
        """Keep the patches that a pseudo-defect covers."""
        covered = F.adaptive_avg_pool2d(masks[:, None].float(), self.grid_hw).flatten(1) > self.config.coverage
        self._defects.append(self._cross_fitted(features)[covered])

    @torch.no_grad()
    def frozen_outputs(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Standardised features of the fitting images, (N, P, C), as a new image would have them."""
        assert features is not None
        standardised = self._cross_fitted(features)
        self._folds = []
        return standardised

    def _cross_fitted(self, features: Tensor) -> Tensor:
        count = len(self._folds)
        parts = [fold.standardise(features[index::count]) for index, fold in enumerate(self._folds)]
        together = parts[0].new_empty(len(features), *parts[0].shape[1:])
        for index, part in enumerate(parts):
            together[index::count] = part
        return together

    def stages(self) -> Sequence[Stage]:
        """One stage: the metric."""
        config = self.config
        return (Stage("metric", config.epochs, config.learning_rate, config.schedule, config.steps),)

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """The metric, and how logits follow from distances."""
        self.requires_grad_(False)
        learned = [self.metric.weight, self.scale, self.offset]
        for parameter in learned:
            parameter.requires_grad_(True)
        return [{"params": learned, "lr_scale": 1.0}]

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy of ``a·d + b`` between patches of good images and half as many covered by pseudo-defects."""
        standardised = batch.frozen
        images, positions, _ = standardised.shape
        chosen = draw_positions(images, positions, self.config.positions, generator).to(standardised.device)
        normal = standardised.gather(1, chosen[..., None].expand(-1, -1, standardised.shape[2])).flatten(0, 1)
        terms = {"normal": cross_entropy(self._logits(normal), anomalous=False)}
        pool = torch.cat(self._defects)
        if len(pool):
            drawn = torch.randint(len(pool), (max(1, len(normal) // 2),), generator=generator)
            terms["defective"] = cross_entropy(self._logits(pool[drawn].to(normal.device)), anomalous=True)
        return terms

    def _logits(self, standardised: Tensor) -> Tensor:
        return self.scale * self._distance(standardised) + self.offset

    def _distance(self, standardised: Tensor) -> Tensor:
        # Away from zero, where a length has no gradient.
        distance: Tensor = (self.metric(standardised).square().sum(-1) + 1e-12).sqrt()
        return distance

    def score_patches(self, features: Tensor) -> Tensor:
        """Distances under the learned metric."""
        return self._distance(self.gaussian.standardise(features)).reshape(-1, 1, *self.grid_hw)
