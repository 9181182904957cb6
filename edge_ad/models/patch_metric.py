"""A Gaussian per position whose metric is learned: ``d(x) = |M S_p^(-1/2) (x - μ_p)|``, M beginning as the identity.

The learned boundary that pays on a small backbone: it starts as ``patch-gaussian``, and what it learns from
pseudo-defects is only which directions of the whitened features count.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from edge_ad.models.base import Stage, TrainingBatch
from edge_ad.models.discriminators.metric import TINY, DefectParameters, Metric
from edge_ad.models.discriminators.standardisation import CrossFit, Standardisation, gather_positions
from edge_ad.models.feature_detector import FeatureDetector
from edge_ad.models.gaussian import (
    PositionGaussian,
    is_invertible,
    joint_matrix,
    mapped_directions,
    vectors_by_position,
)

__all__ = ["MetricDistance", "PatchMetric", "PatchMetricParameters"]

_POSITIONS_AT_ONCE = 128  # bounds the memory of the decomposition


class MetricDistance(nn.Module):
    """``|M S_p^(-1/2) (x - μ_p)|`` by one matrix for all positions and one set of directions for each.

    Args:
        gaussian: Fitted.
        metric: Learned; its matrix is invertible.
    """

    def __init__(self, gaussian: PositionGaussian, metric: Metric) -> None:
        super().__init__()
        matrix = metric.weight.detach().double()
        directions, signs = _quadratic_form(matrix, gaussian.get_buffer("directions"))
        self.register_buffer("mean", gaussian.get_buffer("mean").clone())
        self.register_buffer("matrix", joint_matrix(gaussian, matrix))
        self.register_buffer("directions", directions)
        self.register_buffer("signs", signs)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → distances (N, P)."""
        vectors = vectors_by_position(features, self.get_buffer("mean"), self.get_buffer("matrix"))
        along = torch.matmul(vectors.transpose(0, 1), self.get_buffer("directions"))  # (P, N, K)
        removed = (along.square() * self.get_buffer("signs")).sum(2).transpose(0, 1)
        return ((vectors.square().sum(2) - removed).clamp_min(0) + TINY).sqrt()


def _quadratic_form(matrix: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """V·sqrt|λ| (P, C, K) and the signs of λ (P, 1, K), K = min(C, 2·rank), float32, for A (P, C, rank)."""
    parts = [_decomposed(matrix, part.double()) for part in torch.split(directions, _POSITIONS_AT_ONCE)]
    values, vectors = (torch.cat(part) for part in zip(*parts, strict=True))
    return (vectors * values.abs().sqrt()[:, None]).float(), values.sign()[:, None].float()


def _decomposed(matrix: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """λ (P, K) ascending and V (P, C, K) of S, by way of the space that T and P span."""
    taken, given = mapped_directions(matrix, directions)
    across = given.transpose(1, 2) @ given
    one = torch.eye(across.shape[2], dtype=across.dtype).expand_as(across)
    form = torch.cat([torch.cat([-across, one], 2), torch.cat([one, torch.zeros_like(one)], 2)], 1)
    basis, inside = torch.linalg.qr(torch.cat([taken, given], 2))
    values, vectors = torch.linalg.eigh(inside @ form @ inside.transpose(1, 2))
    return values, basis @ vectors


class PatchMetricParameters(DefectParameters):
    """Parameters of the learned metric.

    Attributes:
        rank: Directions kept per position.
        shrinkage: Share of the common covariance.
        steps: Steps aimed at.
        epochs: Epochs; 0 lets ``steps`` and the number of images decide.
        learning_rate: Peak learning rate.
        schedule: Name of a schedule in ``edge_ad.training.schedules``.
        positions: Share of the positions of an image that one step sees.
    """

    rank: int = Field(default=16, ge=1)
    shrinkage: float = Field(default=0.2, gt=0, lt=1)
    steps: int = Field(default=200, ge=1)
    epochs: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    schedule: str = "one-cycle"
    positions: float = Field(default=0.0625, gt=0, le=1)


class PatchMetric(FeatureDetector):
    """Mahalanobis distance under a metric learned from pseudo-defects.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    method = "patch-metric"
    purpose = "an alternative to patch-gaussian: learns from pseudo-defects which changes count"
    parameters_type = PatchMetricParameters
    float_modules = (
        *FeatureDetector.float_modules,
        "standardisation",
        "metric",
        "metric_distance",
    )
    trains_on_features: ClassVar[bool] = True
    config: PatchMetricParameters

    def __init__(self, config: PatchMetricParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        self.defect_kinds, self.defect_draws = config.kinds, config.draws
        channels = self.patch_features.channels
        self.standardisation = Standardisation(
            channels, self.grid_hw, "local", rank=config.rank, shrinkage=config.shrinkage
        )
        self.metric = Metric(channels)
        self.metric_distance: MetricDistance | None = None
        self._cross_fit: CrossFit | None = None
        self._standardised: Tensor | None = None

    @torch.no_grad()
    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the Gaussian, once on all and once without each fifth: a patch is learned from as if it were new."""
        self.standardisation.fit(fit)
        self._cross_fit = CrossFit(self.standardisation, fit, self.views)
        self._standardised = self._cross_fit(fit)
        self.metric.start(float(self._standardised.norm(dim=2).mean()))

    @torch.no_grad()
    def fit_defects(self, features: Tensor, masks: Tensor) -> None:
        """Keep the patches that a pseudo-defect covers."""
        assert self._cross_fit is not None
        self.metric.add_defects(
            self._cross_fit(features, torch.arange(len(features))), masks, self.grid_hw, self.config.coverage
        )

    def frozen_outputs(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Standardised features of the fitting images, (N, P, C), as a new image would have them."""
        assert self._standardised is not None
        standardised, self._standardised, self._cross_fit = self._standardised, None, None
        return standardised

    def stages(self) -> Sequence[Stage]:
        """One stage: the metric."""
        config = self.config
        return (Stage("metric", config.epochs, config.learning_rate, config.schedule, config.steps),)

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """The metric, and how logits follow from distances."""
        self.requires_grad_(False)
        self.metric.requires_grad_(True)
        return [{"params": list(self.metric.parameters()), "lr_scale": 1.0}]

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy of ``a·d + b`` between patches of good images and half as many covered by pseudo-defects."""
        _, normal = gather_positions(batch.frozen, self.config.positions, generator)
        return self.metric.loss(normal.flatten(0, 1), generator)

    def score_patches(self, features: Tensor) -> Tensor:
        """Distances under the learned metric."""
        whole = self.metric_distance
        distances: Tensor = self.metric(self.standardisation(features)) if whole is None else whole(features)
        return distances.reshape(-1, 1, *self.grid_hw)

    def deployed(self) -> PatchMetric:
        """With the Gaussian and the metric in one form, where the metric can be inverted."""
        if not is_invertible(self.metric.weight):
            return self
        assert self.standardisation.gaussian is not None
        deployed = copy.deepcopy(self)
        deployed.metric_distance = MetricDistance(self.standardisation.gaussian, self.metric)
        return deployed
