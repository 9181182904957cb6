"""Ranges of activations over calibration images: what decides the scales of an INT8 graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.range_rules import RANGE_RULES, RangeRule

__all__ = ["Histogram", "RangeRule", "measure_histograms", "with_outputs"]

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


def with_outputs(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """A copy of a graph with more float tensors as outputs."""
    copy = ModelProto.FromString(model.SerializeToString())
    present = {output.name for output in copy.graph.output}
    copy.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors if name not in present
    )
    return copy
