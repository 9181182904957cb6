"""A float graph and the ranges of its tensors: any of its layers can be made INT8."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.qdq import insert_qdq, quantisable_layers
from edge_ad.calibration.ranges import RangeRule, measure_histograms

__all__ = ["Quantiser"]


class Quantiser:
    """Measures the ranges once, when they are first needed.

    Args:
        model: Float deploy graph.
        layers: Names of the layers that may become INT8.
        frames: Calibration images, uint8 (N, H, W, 3).
        rule: How ranges follow from what was measured.
        measured: Graph to measure in, with the same tensor names, where it is another than ``model``.
        known: Ranges that are set already; tensor → magnitude that becomes level 127.
    """

    def __init__(
        self,
        model: ModelProto,
        layers: Sequence[str],
        frames: NDArray[np.uint8],
        rule: RangeRule,
        *,
        measured: ModelProto | None = None,
        known: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._model, self._layers, self._frames, self._rule = model, layers, frames, rule
        self._measured = model if measured is None else measured
        self._known = known

    @cached_property
    def clips(self) -> dict[str, float]:
        """Input tensor of a layer → magnitude that becomes level 127."""
        tensors = [name for name in self.inputs_of(self._layers) if name not in self._known]
        frames = (image[np.newaxis] for image in self._frames)
        histograms = measure_histograms(self._measured, tensors, frames)
        return {**self._known, **{name: histogram.clip(self._rule) for name, histogram in histograms.items()}}

    def inputs_of(self, layers: Collection[str]) -> list[str]:
        """Tensors that these layers read, each once."""
        inputs = (node.input[0] for node in quantisable_layers(self._model) if node.name in layers)
        return list(dict.fromkeys(inputs))

    def quantise(self, layers: Collection[str]) -> ModelProto:
        """The graph with these layers in INT8, in the form of `insert_qdq`."""
        return insert_qdq(self._model, layers, self.clips)
