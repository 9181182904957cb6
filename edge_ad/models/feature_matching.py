"""Feature statistics of a picture, moved towards those of normal pictures: what light, haze and noise change in them.

Each channel of a level is matched by itself. ``moments`` moves its mean and deviation (Huang & Belongie, "Arbitrary
style transfer in real time with adaptive instance normalization", 2017), ``exact`` the whole distribution (Zhang et
al., "Exact feature distribution matching", 2022), by sorting, and ``counts`` nearly the same without a sort. In all,

    matched = x + share · (m(x) - x),

where m(x) has the reference's statistics: the means of the statistics of the pictures that were fitted.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from edge_ad.errors import DataError, UsageError
from edge_ad.models.picture_normalisation import picture_mean

__all__ = ["CountMatching", "ExactMatching", "FeatureMatching", "MatchingKind", "MomentMatching", "create_matching"]

MatchingKind = Literal["moments", "counts", "exact"]

_VARIANCE_FLOOR = 1e-5  # of a channel that is the same everywhere
_EDGES = 43
_OUTERMOST = 2.5  # standard deviations of a normal distribution, where the first and the last edge lie
_SOFT_STEP = 0.1  # deviations over which a value goes from above an edge to below it
_LEAST_STEP = 1e-3  # between two edges, in deviations: equal values would make a step without a slope


class FeatureMatching(nn.Module):
    """Base: fits the reference, and blends.

    Args:
        channels: C of the level.
        statistics: Numbers S that describe a channel.
        share: Of the reference in what comes out, in (0, 1].
    """

    def __init__(self, channels: int, statistics: int, *, share: float = 0.5) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("reference", torch.zeros(channels, statistics))

    @abstractmethod
    def measure(self, features: Tensor) -> Tensor:
        """Statistics of each channel of each picture, (N, C, h, w) → (N, C, S)."""

    @abstractmethod
    def match(self, features: Tensor) -> Tensor:
        """(N, C, h, w) with the statistics of the reference, as if ``share`` were 1."""

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take the mean statistics of normal pictures as the reference.

        Args:
            batches: (N, C, h, w) each; one of a single picture makes that picture the reference.

        Raises:
            DataError: There is no picture.
        """
        total, count = torch.zeros_like(self.get_buffer("reference"), dtype=torch.float64), 0
        for features in batches:
            total += self.measure(features).double().sum(0).cpu()
            count += len(features)
        if not count:
            raise DataError("There is no picture to match features to.", "Add photos of good parts.")
        self.get_buffer("reference").copy_(total / count)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → the same shape, ``share`` of the way to the reference."""
        return features + self.share * (self.match(features) - features)


class MomentMatching(FeatureMatching):
    """``m(x) = (x - mean) / deviation · reference deviation + reference mean``.

    Args:
        channels: C of the level.
        share: Of the reference in what comes out.
    """

    def __init__(self, channels: int, *, share: float = 0.5) -> None:
        super().__init__(channels, 2, share=share)

    def measure(self, features: Tensor) -> Tensor:
        """Mean and deviation."""
        return torch.cat(_moments(features), dim=2).flatten(2)

    def match(self, features: Tensor) -> Tensor:
        """As the class says."""
        mean, deviation = _moments(features)
        wanted_mean, wanted_deviation = _columns(self.get_buffer("reference"))
        return (features - mean) * (wanted_deviation / deviation) + wanted_mean


class CountMatching(FeatureMatching):
    """Histogram matching without a sort, for engines whose TopK is slow or bounded.

    A channel is standardised, and for 43 fixed edges e it is counted which share F(e) of the positions lies below; a
    value within 0.05 of an edge counts in part, so that rounding does not move all values of a plain ground across it.
    The edges are the reference's own quantiles Q, so ``Q(F(e))`` says where an edge belongs, and what lies between two
    edges goes between their places; beyond the outermost, distances are kept.

    Args:
        channels: C of the level.
        share: Of the reference in what comes out.
    """

    def __init__(self, channels: int, *, share: float = 0.5) -> None:
        super().__init__(channels, 2 + _EDGES, share=share)
        probabilities = torch.special.ndtr(torch.linspace(-_OUTERMOST, _OUTERMOST, _EDGES))
        self.register_buffer("probabilities", probabilities, persistent=False)

    def measure(self, features: Tensor) -> Tensor:
        """Mean, deviation and the quantiles of the standardised values."""
        mean, deviation = _moments(features)
        standardised = ((features - mean) / deviation).flatten(2)
        quantiles = torch.quantile(standardised, self.get_buffer("probabilities"), dim=2).permute(1, 2, 0)
        return torch.cat([mean.flatten(2), deviation.flatten(2), quantiles], dim=2)

    def match(self, features: Tensor) -> Tensor:
        """As the class says."""
        mean, deviation = _moments(features)
        standardised = (features - mean) / deviation
        wanted_mean, wanted_deviation = _columns(self.get_buffer("reference"))
        edges = self._edges()
        places = self._places(standardised, edges)
        return self._moved(standardised, edges, places) * wanted_deviation + wanted_mean

    def _edges(self) -> Tensor:
        """(C, K), ascending."""
        quantiles = self.get_buffer("reference")[:, 2:]
        steps = (quantiles[:, 1:] - quantiles[:, :-1]).clamp_min(_LEAST_STEP)
        offsets = torch.nn.functional.pad(steps.cumsum(1), (1, 0))
        return quantiles[:, :1] + offsets

    def _places(self, standardised: Tensor, edges: Tensor) -> Tensor:
        """Where the edges belong: (N, C, K), by linear interpolation of the reference's quantiles."""
        scaled, bounds = standardised / _SOFT_STEP, edges[:, :, None, None] / _SOFT_STEP + 0.5
        counts = torch.stack([(bounds[:, k] - scaled).clamp(0, 1).sum((2, 3)) for k in range(_EDGES)], dim=2)
        # As quantiles count: the smallest value is at 0, the largest at 1, an edge between two is halfway.
        below = (counts - 0.5) / (standardised.shape[2] * standardised.shape[3] - 1)
        known = self.get_buffer("probabilities")
        widths = known[1:] - known[:-1]
        covered = (below[..., None] - known[:-1]).clamp_min(0).minimum(widths) / widths  # (N, C, K, K - 1)
        return edges[:, :1] + (covered * (edges[:, 1:] - edges[:, :-1])[:, None]).sum(3)

    def _moved(self, standardised: Tensor, edges: Tensor, places: Tensor) -> Tensor:
        """Values moved as the edges between which they lie; a sum of ramps, one per pair of edges."""
        first, last = edges[:, :1, None], edges[:, -1:, None]
        moved = places[..., :1, None] + (standardised - first).clamp_max(0) + (standardised - last).clamp_min(0)
        slopes = (places[..., 1:] - places[..., :-1]) / (edges[:, 1:] - edges[:, :-1])
        for index in range(_EDGES - 1):
            low, high = edges[:, index : index + 1, None], edges[:, index + 1 : index + 2, None]
            ramp = standardised.maximum(low).minimum(high) - low
            moved = moved + slopes[..., index : index + 1, None] * ramp
        return moved


class ExactMatching(FeatureMatching):
    """The k-th smallest value of a channel becomes the reference's k-th smallest; ties keep their order of position.

    It sorts all positions: for processors alone, since TensorRT's TopK ends at 3840.

    Args:
        channels: C of the level.
        positions: h · w of the level.
        share: Of the reference in what comes out.
    """

    def __init__(self, channels: int, positions: int, *, share: float = 0.5) -> None:
        super().__init__(channels, positions, share=share)

    def measure(self, features: Tensor) -> Tensor:
        """The sorted values."""
        return features.flatten(2).sort(dim=2).values

    def match(self, features: Tensor) -> Tensor:
        """As the class says."""
        flat = features.flatten(2)
        order = flat.sort(dim=2, stable=True).indices
        # For each picture by a difference of nothing: expanded, the reference would be a constant of the traced batch.
        wanted = self.get_buffer("reference").to(flat.dtype) + (flat - flat)
        return flat.scatter(2, order, wanted).reshape(features.shape)


def create_matching(kind: MatchingKind, channels: int, positions: int, *, share: float = 0.5) -> FeatureMatching:
    """A matching whose reference is not fitted yet.

    Args:
        kind: How.
        channels: C of the level.
        positions: h · w of the level; only ``exact`` needs it.
        share: Of the reference in what comes out, in (0, 1].

    Raises:
        UsageError: The share is out of range.
    """
    if not 0 < share <= 1:
        raise UsageError(f"The share of the reference is in (0, 1], not {share}.")
    if kind == "exact":
        return ExactMatching(channels, positions, share=share)
    return (MomentMatching if kind == "moments" else CountMatching)(channels, share=share)


def _columns(reference: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, (C, 1, 1) each; by slices, since an index becomes a Gather."""
    return reference[:, :1, None], reference[:, 1:2, None]


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel over the positions, (N, C, 1, 1) each."""
    mean = picture_mean(features)
    variance = picture_mean((features - mean).square())
    return mean, (variance + _VARIANCE_FLOOR).sqrt()
