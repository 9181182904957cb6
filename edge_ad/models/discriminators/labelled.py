"""Labelled defects on the feature map: their standardised features, and which positions are defective."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LabelledMaps", "TrainingMaps", "defective_positions", "positions_beside"]

_COVERED = 0.5  # of a position


class TrainingMaps(NamedTuple):
    """Maps of a step.

    Attributes:
        features: (N, C, h, w).
        masks: 1 where a position is anomalous, else 0, (N, 1, h, w).
        marked: 1 where somebody marked a defect, else 0, (N, 1, h, w).
        spared: 1 where a position is neither normal nor anomalous, as it sees part of a defect, else 0, (N, 1, h, w).
        labels: 1 for an image of a defective part, else 0, (N,).
        has_mask: 1 where the mask is known, else 0, (N,): it is not where an image has nothing but its label.
    """

    features: Tensor
    masks: Tensor
    marked: Tensor
    spared: Tensor
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
        spared: (D, 1, h, w), 1 where it sees part of a defect.
        has_mask: (D,), 1 where somebody marked the place.
    """

    standardised: Tensor
    masks: Tensor
    spared: Tensor
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


def positions_beside(masks: Tensor, positions: Tensor, reach: int) -> Tensor:
    """Positions that are not defective and see part of a defect: touched by its mask, or near what is.

    Features of a position are of what lies around it. Called normal, they would teach that the rim of every defect is;
    of a defect that is smaller than a position the rim is nearly all there is.

    Args:
        masks: bool (N, H, W).
        positions: float32 (N, 1, h, w), 1 where a position is defective.
        reach: Positions around a touched one that are near; 0 gives none at all, as in SuperSimpleNet.

    Returns:
        float32 (N, 1, h, w), 0 or 1.
    """
    if not reach:
        return torch.zeros_like(positions)
    height, width = positions.shape[2:]
    touched = F.adaptive_max_pool2d(masks[:, None].float(), (height, width))
    near = F.max_pool2d(touched, 2 * reach + 1, stride=1, padding=reach)
    return near * (1 - positions)
