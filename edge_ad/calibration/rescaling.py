"""Scale channels and centre maps, so that int8 loses less of them, without changing what the graph computes.

Cross-layer equalisation (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction")
with measured ranges: where nothing but convolutions and sums lies between layers, a channel divided by a number where
it is made and multiplied by it where it is read is the same channel. A map whose channels all fill the range loses
least to the rounding of its values.

Centring: symmetric int8, which TensorRT asks for, gives a map after ReLU6 only the 128 levels that are not negative.
Where a 1×1 convolution without padding reads ``clip(x, 0, 6)``, it can read ``clip(x - 3, -3, 3)`` and add what the
shift takes from its sum: the bias of the convolution in front takes the 3 off, its own bias adds 3 times the sum of its
weights. Then 255 levels cover the map, at no cost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edge_ad.calibration.graph import add_constant, attribute, constants, consumers, producers, with_outputs
from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.qdq import quantisable_layers

__all__ = ["centre_inputs", "channel_scales", "scale_channels"]

_QUANTILE = 0.9999
_LEAST_SHARE = 0.01  # of the largest range; an empty channel has none of its own


def channel_scales(
    model: ModelProto, layers: Collection[str], frames: Iterable[NDArray[np.uint8]]
) -> dict[str, NDArray[np.float32]]:
    """What to divide channels by.

    Args:
        model: Float deploy graph or its backbone.
        layers: Names of the layers that may become INT8.
        frames: uint8 (1, H, W, 3) each, at least one.

    Returns:
        Tensor → float32 (C,), in [0.01, 1]; tensors that are summed have the same. Only tensors whose makers and
        readers can all take the factor, of which at least one of ``layers`` reads one.
    """
    inputs = {node.input[0] for node in quantisable_layers(model) if node.name in layers}
    groups = [group for group in _linear_groups(model) if inputs.intersection(group)]
    ranges = _channel_ranges(model, sorted(inputs.intersection(set().union(*groups))), frames)
    scales: dict[str, NDArray[np.float32]] = {}
    for group in groups:
        widest = np.max([ranges[tensor] for tensor in group if tensor in ranges], axis=0)
        if widest.max() > 0:
            scale = np.maximum(widest / widest.max(), _LEAST_SHARE).astype(np.float32)
            scales |= dict.fromkeys(group, scale)
    return scales


def scale_channels(model: ModelProto, scales: Mapping[str, NDArray[np.float32]]) -> ModelProto:
    """A copy of a graph that computes the same with channels divided as `channel_scales` says."""
    scaled = ModelProto.FromString(model.SerializeToString())
    values = {name: numpy_helper.to_array(tensor) for name, tensor in constants(scaled).items()}
    for node in scaled.graph.node:
        if node.op_type != "Conv" or not {node.input[0], node.output[0]} & set(scales):
            continue
        weight = values[node.input[1]]
        if node.input[0] in scales:
            channels = scales[node.input[0]].reshape(_by_input(node, weight))
            weight = weight * channels
        if node.output[0] in scales:
            made = scales[node.output[0]]
            weight = weight / made.reshape(-1, *[1] * (weight.ndim - 1))
            if len(node.input) > 2:
                node.input[2] = add_constant(scaled, f"{node.input[2]}.scaled", values[node.input[2]] / made)
        node.input[1] = add_constant(scaled, f"{node.input[1]}.scaled", weight)
    return scaled


def _by_input(node: NodeProto, weight: NDArray[np.float32]) -> tuple[int, ...]:
    """Shape in which one number per input channel meets the weight."""
    kernel = [1] * (weight.ndim - 2)
    return (1, -1, *kernel) if attribute(node, "group", 1) == 1 else (-1, 1, *kernel)


def _linear_groups(model: ModelProto) -> list[set[str]]:
    """Tensors that convolutions and sums make and read; tensors that are summed are in one group."""
    made, readers, values = producers(model), consumers(model), constants(model)
    tied: dict[str, set[str]] = {name: {name} for name in made}
    for node in model.graph.node:
        if node.op_type == "Add" and all(name in made for name in node.input):
            group = set().union(*(tied[name] for name in (*node.input, node.output[0])))
            tied |= dict.fromkeys(group, group)
    outputs = {output.name for output in model.graph.output}
    groups = {id(group): group for group in tied.values()}.values()
    return [
        group
        for group in groups
        if not group & outputs
        and all(_takes_factor(node, values, made) for name in group for node in (made[name], *readers[name]))
        and all(node.input[0] == name or node.op_type == "Add" for name in group for node in readers[name])
        and len({values[made[name].input[1]].dims[0] for name in group if made[name].op_type == "Conv"}) == 1
    ]


def _takes_factor(node: NodeProto, values: Mapping[str, TensorProto], made: Mapping[str, NodeProto]) -> bool:
    """Whether it is a sum of made tensors, or a convolution by constants that is dense or one filter per channel."""
    if node.op_type == "Add":
        return all(name in made for name in node.input)
    if node.op_type != "Conv" or any(name not in values for name in node.input[1:] if name):
        return False
    shape = values[node.input[1]].dims
    groups = attribute(node, "group", 1)
    return groups == 1 or (shape[0] == groups and shape[1] == 1)


def _channel_ranges(
    model: ModelProto, tensors: list[str], frames: Iterable[NDArray[np.uint8]]
) -> dict[str, NDArray[np.float64]]:
    """Tensor → (C,) magnitude that 99.99 % of a channel's values in a frame lie below, in the mean of the frames."""
    if not tensors:
        return {}
    session, feed = create_session(with_outputs(model, tensors)), model.graph.input[0].name
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in tensors}
    for frame in frames:
        for name, values in zip(tensors, session.run(tensors, {feed: frame}), strict=True):
            flat = np.abs(values[0]).reshape(values.shape[1], -1)
            found[name].append(np.quantile(flat, _QUANTILE, axis=1))
    return {name: np.mean(rows, axis=0) for name, rows in found.items()}


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
