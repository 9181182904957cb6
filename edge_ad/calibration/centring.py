"""Shift maps that begin at zero to the middle of int8's levels, without changing what the graph computes.

Symmetric int8, which TensorRT asks for, gives a map after ReLU6 only the 128 levels that are not negative. Where a
1×1 convolution without padding reads ``clip(x, 0, 6)``, it can read ``clip(x - 3, -3, 3)`` and add what the shift takes
from its sum: the bias of the convolution in front takes the 3 off, its own bias adds 3 times the sum of its weights.
Then 255 levels cover the map, at no cost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edge_ad.calibration.graph import add_constant, attribute, constants, consumers, producers

__all__ = ["centre_inputs"]


def centre_inputs(
    model: ModelProto, layers: Collection[str], clips: Mapping[str, float]
) -> tuple[ModelProto, dict[str, float]]:
    """Centre what a ``Clip`` from zero gives to 1×1 convolutions that are all among some layers.

    Args:
        model: Float graph; it is left as it is.
        layers: Names of layers that will be INT8.
        clips: Input tensor → magnitude that becomes level 127.

    Returns:
        The graph, which computes the same, and the clips, half as large for each map that is centred now.
    """
    centred, changed = ModelProto.FromString(model.SerializeToString()), dict(clips)
    made, outputs = producers(centred), {output.name for output in centred.graph.output}
    readers = consumers(centred)
    for clip in [node for node in centred.graph.node if node.op_type == "Clip"]:
        source, reading, values = made.get(clip.input[0]), readers[clip.output[0]], constants(centred)
        if source is None or readers[clip.input[0]] != [clip] or outputs.intersection([*clip.input, *clip.output]):
            continue
        quantised = reading and all(node.name in layers and _is_pointwise(node, values) for node in reading)
        if quantised and _has_bias(source, values) and _begins_at_zero(clip, values):
            changed[clip.output[0]] = _shift(centred, source, clip, reading, clips[clip.output[0]] / 2)
    return centred, changed


def _shift(model: ModelProto, source: NodeProto, clip: NodeProto, reading: list[NodeProto], shift: float) -> float:
    """Take ``shift`` off a map, and give back what then is its clip."""
    values = constants(model)
    _add_to_bias(model, source, np.float32(-shift), values)
    for index in (1, 2):
        bound = float(numpy_helper.to_array(values[clip.input[index]])) - shift
        clip.input[index] = add_constant(model, f"{clip.output[0]}.bound", np.array(bound, np.float32))
    for node in reading:
        weight = numpy_helper.to_array(values[node.input[1]])
        _add_to_bias(model, node, shift * weight.sum(axis=(1, 2, 3), dtype=np.float64), values)
    return shift


def _is_pointwise(node: NodeProto, values: Mapping[str, TensorProto]) -> bool:
    """A convolution whose every output sees every input channel at one position, never padding."""
    if not _has_bias(node, values) or attribute(node, "group", 1) != 1:
        return False
    padded = any(cast("list[int]", attribute(node, "pads", [])))
    return not padded and list(values[node.input[1]].dims[2:]) == [1, 1]


def _has_bias(node: NodeProto, values: Mapping[str, TensorProto]) -> bool:
    return node.op_type == "Conv" and len(node.input) > 2 and all(name in values for name in node.input[1:])


def _begins_at_zero(clip: NodeProto, values: Mapping[str, TensorProto]) -> bool:
    constant = len(clip.input) > 2 and all(name in values for name in clip.input[1:])
    return constant and float(numpy_helper.to_array(values[clip.input[1]])) == 0


def _add_to_bias(
    model: ModelProto, node: NodeProto, amount: np.float32 | NDArray[np.float64], values: Mapping[str, TensorProto]
) -> None:
    bias = numpy_helper.to_array(values[node.input[2]]) + amount
    node.input[2] = add_constant(model, f"{node.input[2]}.centred", bias.astype(np.float32))
