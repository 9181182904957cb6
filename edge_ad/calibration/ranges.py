"""Ranges of activations over calibration images: what decides the scales of an INT8 graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.graph import with_outputs
from edge_ad.calibration.graph_runner import create_session

__all__ = [
    "RANGE_RULES",
    "Histogram",
    "RangeChoice",
    "RangeRule",
    "backbone_rule",
    "describe_choice",
    "entropy",
    "least_error",
    "measure_histograms",
    "other_rule",
    "percentile",
]

RangeRule = Literal["percentile", "mse", "entropy", "minmax"]
RangeChoice = Literal["auto", "percentile", "mse", "entropy", "minmax"]
"""A rule for every layer, or ``auto``: a rule for the layers of a frozen backbone and one for the others."""
Counts = NDArray[np.int64]

_LEVELS = 127  # symmetric int8 uses -127..127
_PERCENTILE = 0.9999
_CANDIDATES = 64
_FEWEST_BINS = _LEVELS + 1
_ENTROPY_STEP = 8  # bins between two candidates: 0.4 % of the range
_FLOOR = 1e-4  # count that an empty bin gets, so that the divergence stays finite


def percentile(counts: Counts, limit: float, largest: float) -> float:
    """99.99 % of the values are below it.

    Args:
        counts: int64 (B,) values per bin of magnitudes.
        limit: Upper end of the last bin, > 0.
        largest: The largest magnitude, in (0, limit].
    """
    share = np.cumsum(counts) / counts.sum()
    upper_edge = (int(np.searchsorted(share, _PERCENTILE)) + 1) * limit / len(counts)
    return min(upper_edge, largest)


def least_error(counts: Counts, limit: float, largest: float) -> float:
    """Least mean squared error of rounding and clipping; arguments as in `percentile`."""
    centres = (np.arange(len(counts)) + 0.5) * limit / len(counts)
    candidates = largest * np.linspace(0.1, 1.0, _CANDIDATES)
    errors = [float(counts @ _squared_error(centres, clip)) for clip in candidates]
    return float(candidates[int(np.argmin(errors))])


def entropy(counts: Counts, limit: float, largest: float) -> float:
    """Least Kullback-Leibler divergence D(P || Q) of the values from their int8 form; arguments as in `percentile`.

    P is the histogram cut at a candidate, with everything above counted in its last bin; Q is the cut histogram
    rounded to 128 levels, each spread evenly over the bins it came from that are not empty. This is the rule of
    TensorRT's entropy calibrator. Values in the first bin are exact in every form; a ReLU's zeros would outweigh all
    others there, so that bin counts as much as the next.
    """
    counts = counts.copy()
    counts[0] = min(counts[0], counts[1])
    used = int(np.ceil(largest / limit * len(counts)))
    # The last one is not cut at all, whatever the step.
    candidates = [*range(_FEWEST_BINS, used, _ENTROPY_STEP), max(used, _FEWEST_BINS)]
    divergences = [_divergence(counts, bins) for bins in candidates]
    clip = float(candidates[int(np.argmin(divergences))] * limit / len(counts))
    return min(clip, largest)


RANGE_RULES: dict[RangeRule, Callable[[Counts, float, float], float]] = {
    "percentile": percentile,
    "mse": least_error,
    "entropy": entropy,
    "minmax": lambda counts, limit, largest: largest,
}


def backbone_rule(choice: RangeChoice) -> RangeRule:
    """The rule for a frozen backbone: by default nothing is clipped that the calibration images show.

    A defect lies at the edge of what good parts show, or outside; what a percentile cuts off is where it shows.
    """
    return "minmax" if choice == "auto" else choice


def other_rule(choice: RangeChoice) -> RangeRule:
    """The rule for all other layers."""
    return "percentile" if choice == "auto" else choice


def describe_choice(choice: RangeChoice, *, has_backbone: bool) -> str:
    """In words, for a report."""
    if choice == "auto" and has_backbone:
        return f"{backbone_rule(choice)} in the backbone, {other_rule(choice)} elsewhere"
    return other_rule(choice)


def _squared_error(values: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    scale = clip / _LEVELS
    rounding = scale * scale / 12  # of a value inside, whatever bin it fell into
    return np.where(values <= clip, rounding, np.square(values - clip))


def _divergence(counts: Counts, bins: int) -> float:
    kept = counts[:bins].astype(np.float64)
    clipped = kept.copy()
    clipped[-1] += counts[bins:].sum()
    occupied = clipped > 0
    level = np.arange(bins) * (_LEVELS + 1) // bins
    per_level = np.bincount(level, kept, _LEVELS + 1)
    sharing = np.maximum(np.bincount(level, occupied, _LEVELS + 1), 1)
    rounded = np.where(occupied, (per_level / sharing)[level], 0.0)
    p, q = _distribution(clipped), _distribution(rounded)
    return float(np.sum(p * np.log(p / q)))


def _distribution(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    smoothed = np.maximum(counts, _FLOOR)
    return np.asarray(smoothed / smoothed.sum())


_BINS = 2048


class Histogram:
    """Histogram of magnitudes that grows with what it sees, so that one pass over the images is enough.

    Attributes:
        counts: int64 (2048,) values per bin.
        limit: Upper end of the last bin; 0 before the first value above 0.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(_BINS, np.int64)
        self.limit = 0.0
        self.largest = 0.0

    def update(self, values: NDArray[np.floating[Any]]) -> None:
        """Count the magnitudes of an array of any shape."""
        magnitudes = np.abs(values).ravel()
        largest = float(magnitudes.max(initial=0.0))
        self.largest = max(self.largest, largest)
        if self.limit == 0.0:
            self.limit = largest or 0.0
        while largest > self.limit > 0.0:  # two old bins make a new one
            pairs = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.concatenate([pairs, np.zeros(_BINS // 2, np.int64)])
            self.limit *= 2
        if self.limit > 0.0:
            self.counts += np.histogram(magnitudes, _BINS, (0.0, self.limit))[0]

    def clip(self, rule: RangeRule) -> float:
        """The magnitude that becomes the largest int8 level.

        Args:
            rule: ``minmax``: the largest seen. ``percentile``: 99.99 % of the values are below. ``mse``: the least mean
                squared error of rounding and clipping. ``entropy``: the least Kullback-Leibler divergence.

        Returns:
            A magnitude above 0; 1 when only zeros were seen.
        """
        return RANGE_RULES[rule](self.counts, self.limit, self.largest) if self.limit > 0.0 else 1.0


def measure_histograms(
    model: ModelProto, tensors: Sequence[str], frames: Iterable[NDArray[np.uint8]]
) -> Mapping[str, Histogram]:
    """Run a float graph on frames and count the magnitudes of some of its tensors.

    Args:
        model: Deploy graph or its backbone.
        tensors: Names of float tensors that its nodes make.
        frames: uint8 (1, H, W, 3) each.

    Returns:
        Tensor → histogram.
    """
    if not tensors:
        return {}
    session = create_session(with_outputs(model, tensors))
    histograms = {name: Histogram() for name in tensors}
    feed = model.graph.input[0].name
    for frame in frames:
        for name, values in zip(tensors, session.run(list(tensors), {feed: frame}), strict=True):
            histograms[name].update(values)
    return histograms
