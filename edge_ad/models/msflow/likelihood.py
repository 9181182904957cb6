"""From z to a map and a score: how likely each place is on every scale, and how the scales are brought together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from edge_ad.models.base import DetectorOutput
from edge_ad.models.distillation.distance import ScaleSum

__all__ = ["LikelihoodMap", "Reference", "Score", "log_likelihood", "mean_of_highest"]

Reference = Literal["photos", "picture"]
Score = Literal["map", "product"]

_LEAST = -1e4  # of a log-likelihood: its exponential is 0 long before, and nothing becomes infinite
_HALVINGS = 16
_SMALLEST_UNIT = 1e-6


def log_likelihood(z: Tensor) -> Tensor:
    """``−½ mean z²`` over the channels: (N, C, h, w) → (N, 1, h, w), at most 0."""
    return (-0.5 * z.square().mean(1, keepdim=True)).clamp_min(_LEAST)


def mean_of_highest(values: Tensor, share: float) -> Tensor:
    """Mean of the highest values of each map, without sorting them, which not every engine can.

    The mean of the k highest is ``t + Σ max(0, x − t) / k`` for t = the k-th highest, and not much more for a t close
    to it, which is found by halving [0, 1].

    Args:
        values: (N, 1, H, W) in [0, 1].
        share: Of the values that count, in (0, 1]; their number is rounded down, but one at least.

    Returns:
        (N,), at most 2⁻¹⁶ too high.
    """
    positions = values.shape[2] * values.shape[3]
    share = max(1, int(positions * share)) / positions
    low = torch.zeros_like(values[:, :, :1, :1])
    for index in range(1, _HALVINGS + 1):
        middle = low + 0.5**index
        above = (values > middle).to(values.dtype).mean((2, 3), keepdim=True)
        low = torch.where(above >= share, middle, low)
    high = low + 0.5**_HALVINGS  # t lies below it, where the sum's slope is at most 1
    mean = high + (values - high).clamp_min(0).mean((2, 3), keepdim=True) / share
    return mean.flatten()


class LikelihoodMap(nn.Module):
    """MSFlow's two ways to bring scales together, each in units of what held-out good photos have.

    With ``l`` the log-likelihood on a scale at full size and ``m`` what is normal for it, the map is
    ``Σ (1 − exp(l − m))``. The score is its maximum, or as published the mean over the highest places of
    ``1 − exp(Σ l − m)``. The map's unit is the mean of its maximum, so that a threshold on either score is one for it.

    Args:
        size_hw: Height and width of the image, in pixels.
        strides: Of the scales.
        sigma: Smoothing of the map, pixels; None leaves it out.
        top_share: Share of the places that the score is the mean of.
        reference: ``photos``: m is the mean over held-out good photos of their likeliest place; ``picture``: the
            picture's own likeliest place, as published, which cannot see what is wrong everywhere.
        score: ``map``: the map's maximum; ``product``: as published.
    """

    def __init__(
        self,
        size_hw: tuple[int, int],
        strides: Sequence[int],
        *,
        sigma: float | None,
        top_share: float = 0.03,
        reference: Reference = "photos",
        score: Score = "map",
    ) -> None:
        super().__init__()
        self.top_share, self.reference, self.score = top_share, reference, score
        self.smoothed, self.plain = ScaleSum(size_hw, strides, sigma), ScaleSum(size_hw, strides, None)
        self.register_buffer("likeliest", torch.zeros(len(strides)))
        self.register_buffer("likeliest_sum", torch.zeros(()))
        self.register_buffer("score_unit", torch.ones(()))
        self.register_buffer("map_unit", torch.ones(()))

    @torch.no_grad()
    def fit(self, photos: Sequence[Sequence[Tensor]]) -> None:
        """Take what is normal, and the units, from held-out good photos.

        Args:
            photos: Batches of log-likelihoods, each by scale, (N, 1, h, w).
        """
        for name in ("score_unit", "map_unit"):
            self.get_buffer(name).fill_(1)
        best = [torch.stack([_highest(level).flatten() for level in levels], 1) for levels in photos]
        self.get_buffer("likeliest").copy_(torch.cat(best).mean(0))
        sums = [_highest(self.plain.enlarge(levels)).flatten() for levels in photos]
        self.get_buffer("likeliest_sum").copy_(torch.cat(sums).mean())
        found = [self(levels) for levels in photos]
        maxima = torch.cat([output.anomaly_map.amax((1, 2, 3)) for output in found])
        self.get_buffer("map_unit").copy_(maxima.mean().clamp_min(_SMALLEST_UNIT))
        scores = torch.cat([self._product(levels) for levels in photos])
        self.get_buffer("score_unit").copy_(scores.mean().clamp_min(_SMALLEST_UNIT))

    def forward(self, levels: Sequence[Tensor]) -> DetectorOutput:
        """Log-likelihoods by scale, (N, 1, h, w), the finest first → score and map."""
        anomaly_map = self.smoothed.enlarge([1 - likely for likely in self.likelihoods(levels)])
        if self.reference == "picture":
            anomaly_map = anomaly_map - anomaly_map.amin((1, 2, 3), keepdim=True)
        anomaly_map = anomaly_map / self.get_buffer("map_unit")
        if self.score == "map":
            return DetectorOutput(anomaly_map.amax((1, 2, 3)), anomaly_map)
        return DetectorOutput(self._product(levels) / self.get_buffer("score_unit"), anomaly_map)

    def _product(self, levels: Sequence[Tensor]) -> Tensor:
        """(N,), in [0, 1]."""
        likely = self._relative(self.plain.enlarge(levels), self.get_buffer("likeliest_sum"))
        return mean_of_highest(1 - likely, self.top_share)

    def likelihoods(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Of each scale relative to what is normal, (N, 1, h, w) in [0, 1]."""
        normal = self.get_buffer("likeliest")
        return [self._relative(level, normal[index]) for index, level in enumerate(levels)]

    def _relative(self, logarithms: Tensor, normal: Tensor) -> Tensor:
        if self.reference == "picture":
            normal = _highest(logarithms)
        return (logarithms - normal).clamp_max(0).exp()


def _highest(maps: Tensor) -> Tensor:
    return maps.amax((1, 2, 3), keepdim=True)
