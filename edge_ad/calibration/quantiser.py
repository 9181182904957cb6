"""A float graph and the ranges of its tensors: any of its layers can be made INT8."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.backbone_form import BackboneForm
from edge_ad.calibration.qdq import quantisable_layers
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
        backbone: The form of the layers of a backbone, whose ranges are set; ``model`` is scaled as it says.
    """

    def __init__(
        self,
        model: ModelProto,
        layers: Sequence[str],
        frames: NDArray[np.uint8],
        rule: RangeRule,
        *,
        measured: ModelProto | None = None,
        backbone: BackboneForm | None = None,
    ) -> None:
        self._model, self._layers, self._frames, self._rule = model, layers, frames, rule
        self._measured = model if measured is None else measured
        self._backbone = BackboneForm() if backbone is None else backbone

    @cached_property
    def clips(self) -> dict[str, float]:
        """Input tensor of a layer → magnitude that becomes level 127."""
        known = self._backbone.clips
        tensors = [name for name in self._inputs if name not in known]
        frames = (image[np.newaxis] for image in self._frames)
        histograms = measure_histograms(self._measured, tensors, frames)
        return {**known, **{name: histogram.clip(self._rule) for name, histogram in histograms.items()}}

    @property
    def _inputs(self) -> list[str]:
        """Tensors that the layers read, each once."""
        inputs = (node.input[0] for node in quantisable_layers(self._model) if node.name in self._layers)
        return list(dict.fromkeys(inputs))

    def quantise(self, layers: Collection[str]) -> ModelProto:
        """The graph with these layers in INT8, in the form of `insert_qdq`."""
        return self._backbone.quantise(self._model, layers, self.clips)
