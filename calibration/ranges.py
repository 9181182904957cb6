"""Ranges of activations over calibration images: what decides the scales of an INT8 graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edge_ad.calibration.graph_runner import create_session

__all__ = ["Histogram", "RangeRule", "measure_histograms", "with_outputs"]

RangeRule = Literal["percentile", "mse", "minmax"]

_BINS = 2048
_LEVELS = 127  # symmetric int8 uses -127..127
_PERCENTILE = 0.9999
_CANDIDATES = 64


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
                squared error of rounding and clipping.

        Returns:
            A magnitude above 0; 1 when only zeros were seen.
        """
        if self.limit == 0.0:
            return 1.0
        if rule == "percentile":
            return self._percentile()
        return self.largest if rule == "minmax" else self._least_error()

    def _percentile(self) -> float:
        share = np.cumsum(self.counts) / self.counts.sum()
        upper_edge = (int(np.searchsorted(share, _PERCENTILE)) + 1) * self.limit / _BINS
        return min(upper_edge, self.largest)

    def _least_error(self) -> float:
        centres = (np.arange(_BINS) + 0.5) * self.limit / _BINS
        candidates = self.largest * np.linspace(0.1, 1.0, _CANDIDATES)
        errors = [float(self.counts @ _squared_error(centres, clip)) for clip in candidates]
        return float(candidates[int(np.argmin(errors))])


def _squared_error(values: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    scale = clip / _LEVELS
    rounding = scale * scale / 12  # of a value inside, whatever bin it fell into
    return np.where(values <= clip, rounding, np.square(values - clip))


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


def with_outputs(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """A copy of a graph with more float tensors as outputs."""
    copy = ModelProto.FromString(model.SerializeToString())
    present = {output.name for output in copy.graph.output}
    copy.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors if name not in present
    )
    return copy
