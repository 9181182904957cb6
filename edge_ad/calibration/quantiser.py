"""A float graph, the ranges of its tensors and the INT8 form of its backbone: any of its layers can be made INT8."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from edge_ad.calibration.graph import attribute, constants
from edge_ad.calibration.qdq import insert_qdq, quantisable_layers
from edge_ad.calibration.ranges import RangeRule, measure_histograms
from edge_ad.calibration.rescaling import centre_inputs, channel_scales, scale_channels
from edge_ad.calibration.rounding import round_with_moments, second_moments

__all__ = ["BACKBONE_FORM", "BackboneForm", "Quantiser"]

BACKBONE_FORM = "later stages without first blocks, channels equalised, maps centred, weights rounded by error feedback"
"""Part of where an INT8 graph comes from: another form is another graph."""


@dataclass(frozen=True)
class BackboneForm:
    """What makes the layers of a backbone INT8.

    Attributes:
        scales: Tensor → float32 (C,), what its channels are divided by.
        clips: Input tensor of a layer, after that → magnitude that becomes level 127 before centring.
        rounded: Layer → int8 weight, for its input as it is after centring.
    """

    scales: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    clips: Mapping[str, float] = field(default_factory=dict)
    rounded: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)

    @classmethod
    def measure(
        cls, model: ModelProto, layers: Collection[str], frames: NDArray[np.uint8], rule: RangeRule
    ) -> BackboneForm:
        """Find it on calibration images.

        Args:
            model: Float deploy graph; it is left as it is.
            layers: Names of the layers of its backbone that may become INT8.
            frames: uint8 (N, H, W, 3), N >= 1.
            rule: How ranges follow from histograms.
        """
        if not layers:
            return cls()
        single = [frame[np.newaxis] for frame in frames]
        scales = channel_scales(model, layers, single)
        scaled = scale_channels(model, scales)
        tensors = list(dict.fromkeys(node.input[0] for node in quantisable_layers(scaled) if node.name in layers))
        clips = {name: histogram.clip(rule) for name, histogram in measure_histograms(scaled, tensors, single).items()}
        return cls(scales, clips, _rounded(*centre_inputs(scaled, layers, clips), layers, single))

    def quantise(self, model: ModelProto, layers: Collection[str], clips: Mapping[str, float]) -> ModelProto:
        """A graph with some layers in INT8, those of the backbone in this form.

        Args:
            model: Float graph whose backbone is scaled by ``scales``; it is left as it is.
            layers: Names of layers, of the backbone or not.
            clips: Input tensor of each → magnitude that becomes level 127.
        """
        centred, halved = centre_inputs(model, [name for name in layers if name in self.rounded], clips)
        return insert_qdq(centred, layers, halved, self.rounded)


def _rounded(
    model: ModelProto, clips: Mapping[str, float], layers: Collection[str], frames: Sequence[NDArray[np.uint8]]
) -> dict[str, NDArray[np.int8]]:
    weights = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items()}
    nodes = [
        node
        for node in quantisable_layers(model)
        if node.name in layers and _sees_channels(node, weights[node.input[1]])
    ]
    moments = second_moments(model, {node.input[0]: clips[node.input[0]] for node in nodes}, frames)
    return {node.name: round_with_moments(weights[node.input[1]], moments[node.input[0]]) for node in nodes}


def _sees_channels(node: NodeProto, weight: NDArray[np.float32]) -> bool:
    """Whether each output is a sum over the channels at one position; other weights are rounded to the nearest."""
    return node.op_type == "Conv" and set(weight.shape[2:]) == {1} and attribute(node, "group", 1) == 1


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
