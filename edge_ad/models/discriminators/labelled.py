"""Labelled defects on the feature map: their standardised features, and which positions are defective."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LabelledMaps", "TrainingMaps", "defective_positions"]

_COVERED = 0.5  # of a position


class TrainingMaps(NamedTuple):
    """Maps of a step.

    Attributes:
        features: (N, C, h, w).
        masks: 1 where a position is defective, else 0, (N, 1, h, w).
        labels: 1 for an image of a defective part, else 0, (N,).
        has_mask: 1 where the mask is known, else 0, (N,): it is not where an image has nothing but its label.
    """

    features: Tensor
    masks: Tensor
    labels: Tensor
    has_mask: Tensor

    def joined(self, other: TrainingMaps) -> TrainingMaps:
        """Those of both, one after the other."""
        return TrainingMaps(*(torch.cat(pair) for pair in zip(self, other, strict=True)))


class LabelledMaps(NamedTuple):
    """All labelled defects of a training.

    Attributes:
        standardised: (D, P, C).
        masks: (D, 1, h, w), 1 where a position is defective.
        has_mask: (D,), 1 where somebody marked the place.
    """

    standardised: Tensor
    masks: Tensor
    has_mask: Tensor

    def draw(self, count: int, generator: torch.Generator) -> LabelledMaps:
        """As many of them at random, with replacement: there are few."""
        chosen = torch.randint(len(self.standardised), (count,), generator=generator)
        return LabelledMaps(*(part[chosen] for part in self))


def defective_positions(masks: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Positions that a defect covers by half, or where it is smaller, the one that it covers most.

    SuperSimpleNet samples masks bilinearly and takes what is at least a half, which loses defects smaller than that.

    Args:
        masks: bool (N, H, W).
        grid_hw: Height and width of the feature map.

    Returns:
        float32 (N, 1, h, w), 0 or 1; all 0 where nothing is marked.
    """
    covered = F.adaptive_avg_pool2d(masks[:, None].float(), grid_hw)
    most = covered.amax((2, 3), keepdim=True)
    return ((covered >= torch.minimum(most, torch.tensor(_COVERED))) & (covered > 0)).float()
