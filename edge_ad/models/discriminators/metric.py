"""A metric learned from pseudo-defects: which directions of standardised features count, and nothing else.

``d(z) = |M z|``, M beginning as the identity: 152 × 152 numbers cannot learn the look of the pseudo-defects that they
are trained on, as a multilayer discriminator does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.data.pseudo_defects import KINDS
from edge_ad.models.discriminators.losses import cross_entropy
from edge_ad.models.feature_detector import FeatureParameters

__all__ = ["TINY", "DefectParameters", "Metric", "length"]

_START_SCALE, _START_OFFSET = 3.0, -3.0  # logit 0 at the mean distance of normal patches
TINY = 1e-12
"""Keeps a square root away from zero, where it has no gradient."""


class DefectParameters(FeatureParameters):
    """Parameters of a detector that learns from pseudo-defects.

    Attributes:
        kinds: Kinds of pseudo-defects that it learns from.
        draws: Pseudo-defects painted on each fitting image.
        coverage: Share of a patch that a pseudo-defect must cover for the patch to count as defective.
    """

    kinds: tuple[str, ...] = Field(default=tuple(KINDS), min_length=1)
    draws: int = Field(default=2, ge=1, le=64)
    coverage: float = Field(default=0.3, ge=0, lt=1)

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


class Metric(nn.Module):
    """The matrix M, and ``a·d + b``, the logit by which it is learned.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(channels), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(()), requires_grad=False)
        self.offset = nn.Parameter(torch.zeros(()), requires_grad=False)
        self._defects: list[Tensor] = []

    def start(self, mean_length: float) -> None:
        """Begin anew, without defects.

        Args:
            mean_length: Mean of ``|z|`` over normal patches, where the logit begins at 0.
        """
        self._defects = []
        nn.init.eye_(self.weight)
        nn.init.constant_(self.scale, _START_SCALE / max(mean_length, TINY))
        nn.init.constant_(self.offset, _START_OFFSET)

    def add_defects(self, standardised: Tensor, masks: Tensor, grid_hw: tuple[int, int], coverage: float) -> None:
        """Keep the patches that a pseudo-defect covers.

        Args:
            standardised: (N, P, C).
            masks: bool (N, H, W), True where the image was changed.
            grid_hw: Height and width of the P positions.
            coverage: Share of a patch that must be changed.
        """
        covered = F.adaptive_avg_pool2d(masks[:, None].float(), grid_hw).flatten(1) > coverage
        self._defects.append(standardised[covered])

    def loss(self, normal: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy of the logits of normal patches (M, C) and of half as many covered by pseudo-defects."""
        terms = {"normal": cross_entropy(self.logits(normal), anomalous=False)}
        self._defects = [pool := torch.cat(self._defects)]
        if len(pool):
            drawn = torch.randint(len(pool), (max(1, len(normal) // 2),), generator=generator)
            terms["defective"] = cross_entropy(self.logits(pool[drawn].to(normal.device)), anomalous=True)
        return terms

    def logits(self, standardised: Tensor) -> Tensor:
        """``a·d + b``, (..., C) → (...)."""
        logits: Tensor = self.scale * self(standardised) + self.offset
        return logits

    def forward(self, standardised: Tensor) -> Tensor:
        """``d(z)``, (..., C) → (...)."""
        return length(F.linear(standardised, self.weight))


def length(vectors: Tensor) -> Tensor:
    """Euclidean length of (..., C), away from zero, where it has no gradient."""
    return (vectors.square().sum(-1) + TINY).sqrt()
