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
    centred = ModelProto.FromString(model.SerializeToString())
    made, readers, values = producers(centred), consumers(centred), constants(centred)
    changed = dict(clips)
    for clip in [node for node in centred.graph.node if node.op_type == "Clip"]:
        tensor, source = clip.output[0], made.get(clip.input[0])
        apart = source is not None and readers[clip.input[0]] == [clip] and _has_bias(source, values)
        pointwise = all(node.name in layers and _is_pointwise(node, values) for node in readers[tensor])
        bounds = _bounds(clip, values)
        if source is None or not (apart and pointwise and readers[tensor]) or bounds is None or bounds[0] != 0:
            continue
        shift = clips[tensor] / 2
        _add_to_bias(centred, source, np.float32(-shift), values)
        for index, bound in enumerate(bounds, 1):
            clip.input[index] = add_constant(centred, f"{tensor}.bound", np.array(bound - shift, np.float32))
        for node in readers[tensor]:
            weight = numpy_helper.to_array(values[node.input[1]])
            _add_to_bias(centred, node, shift * weight.sum(axis=(1, 2, 3), dtype=np.float64), values)
        changed[tensor] = clips[tensor] - shift
        values = constants(centred)
    return centred, changed


def _is_pointwise(node: NodeProto, values: Mapping[str, TensorProto]) -> bool:
    """A convolution whose every output sees every input channel at one position, never padding."""
    if not _has_bias(node, values) or attribute(node, "group", 1) != 1:
        return False
    padded = any(cast("list[int]", attribute(node, "pads", [])))
    return not padded and list(values[node.input[1]].dims[2:]) == [1, 1]


def _has_bias(node: NodeProto, values: Mapping[str, TensorProto]) -> bool:
    return node.op_type == "Conv" and len(node.input) > 2 and all(name in values for name in node.input[1:])


def _bounds(clip: NodeProto, values: Mapping[str, TensorProto]) -> tuple[float, float] | None:
    if len(clip.input) < 3 or any(name not in values for name in clip.input[1:]):
        return None
    least, most = (float(numpy_helper.to_array(values[name])) for name in clip.input[1:])
    return least, most


def _add_to_bias(
    model: ModelProto, node: NodeProto, amount: np.float32 | NDArray[np.float64], values: Mapping[str, TensorProto]
) -> None:
    bias = numpy_helper.to_array(values[node.input[2]]) + amount
    node.input[2] = add_constant(model, f"{node.input[2]}.centred", bias.astype(np.float32))
