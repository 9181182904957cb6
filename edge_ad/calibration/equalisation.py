"""Give the channels that one int8 scale must cover the same range, without changing what the graph computes.

Cross-layer equalisation (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction")
with measured ranges: where nothing but convolutions and sums lies between layers, a channel divided by a number where
it is made and multiplied by it where it is read is the same channel. A map whose channels all fill the range loses
least to the rounding of its values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edge_ad.calibration.graph import add_constant, attribute, constants, consumers, producers
from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.qdq import quantisable_layers
from edge_ad.calibration.ranges import with_outputs

__all__ = ["channel_scales", "scale_channels"]

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
