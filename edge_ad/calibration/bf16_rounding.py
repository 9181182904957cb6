"""Weights of a backbone in bfloat16, rounded so that the sums of its convolutions stay what they were.

An engine in bfloat16 rounds weights and biases to 8 bits, each by itself. The error of a bias depends on the photo once
ReLU6 has cut it, and errors of weights add up where neighbouring, that is nearly equal, pixels are multiplied by them.
Rounded here by error feedback, with the bias as the weight of a constant input, most of that cancels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from edge_ad.calibration.error_feedback import round_by_feedback
from edge_ad.calibration.graph import attribute, constants
from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.layers import is_backbone
from edge_ad.calibration.ranges import with_outputs

__all__ = ["round_backbone", "to_bf16", "with_constants"]

_DAMPING = 1e-4  # of the mean second moment: neighbouring pixels are nearly equal, and that is what is made use of

Arrays = dict[str, NDArray[np.float32]]


def to_bf16(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Round to the nearest bfloat16, ties to even; finite values of any shape."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def round_backbone(model: ModelProto, frames: Iterable[NDArray[np.uint8]], float32: Collection[str]) -> Arrays:
    """Weights and biases of the 1×1 and depthwise convolutions of the backbone that will be computed in bfloat16.

    Args:
        model: Deploy graph, in float or with Q/DQ; INT8 layers are left out.
        frames: uint8 (1, H, W, 3) each, at least one: what the convolutions see.
        float32: Names of nodes that stay in float32.

    Returns:
        Name of a constant → its values, every one a bfloat16 number.
    """
    weights = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items()}
    nodes = [node for node in model.graph.node if node.name not in float32 and _is_rounded(node, weights)]
    rounded: Arrays = {}
    for node, moments in _moments(model, nodes, weights, frames):
        weight, bias = (weights[name] for name in node.input[1:])
        columns = np.concatenate([weight.reshape(len(weight), -1), bias[:, np.newaxis]], axis=1)
        found = _round(columns.astype(np.float64), moments)
        rounded[node.input[1]] = np.ascontiguousarray(found[:, :-1].reshape(weight.shape))
        rounded[node.input[2]] = np.ascontiguousarray(found[:, -1])
    return rounded


def with_constants(model: ModelProto, values: Mapping[str, NDArray[np.float32]]) -> ModelProto:
    """A copy of a graph with other values for some of its constants."""
    copy = ModelProto.FromString(model.SerializeToString())
    for tensor in copy.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    return copy


def _is_rounded(node: NodeProto, weights: Mapping[str, NDArray[np.float32]]) -> bool:
    if node.op_type != "Conv" or not is_backbone(node.name) or not all(name in weights for name in node.input[1:]):
        return False
    weight = weights[node.input[1]]
    return len(node.input) == 3 and (_is_depthwise(node, weight) or set(weight.shape[2:]) == {1} == {_groups(node)})


def _is_depthwise(node: NodeProto, weight: NDArray[np.float32]) -> bool:
    return weight.shape[1] == 1 and _groups(node) == len(weight) > 1


def _groups(node: NodeProto) -> int:
    return _integers(node, "group", [1])[0]


def _integers(node: NodeProto, name: str, default: list[int]) -> list[int]:
    return [int(value) for value in np.ravel(np.asarray(attribute(node, name, default)))]


def _moments(
    model: ModelProto,
    nodes: list[NodeProto],
    weights: Mapping[str, NDArray[np.float32]],
    frames: Iterable[NDArray[np.uint8]],
) -> Iterable[tuple[NodeProto, NDArray[np.float64]]]:
    """Node → float64 (groups, n + 1, n + 1), mean products of the n inputs of a sum, and of a constant 1."""
    names = list(dict.fromkeys(node.input[0] for node in nodes))
    if not names:
        return []
    session, feed = create_session(with_outputs(model, names)), model.graph.input[0].name
    sums: list[list[NDArray[np.float64]]] = [[] for _ in nodes]
    for frame in frames:
        maps = dict(zip(names, session.run(names, {feed: frame}), strict=True))
        for node, found in zip(nodes, sums, strict=True):
            found.append(_products(_inputs_of_sums(node, weights[node.input[1]], maps[node.input[0]][0])))
    return [(node, np.mean(found, axis=0)) for node, found in zip(nodes, sums, strict=True)]


def _inputs_of_sums(node: NodeProto, weight: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is multiplied by the weights: (1, C, positions), or (C, kernel height * width, positions) if depthwise."""
    if not _is_depthwise(node, weight):
        return values.reshape(1, len(values), -1)
    top, left, bottom, right = _integers(node, "pads", [0, 0, 0, 0])
    down, across = _integers(node, "strides", [1, 1])
    padded = np.pad(values, ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (1, 2))[:, ::down, ::across]
    return windows.reshape(len(values), -1, weight[0].size).transpose(0, 2, 1)


def _products(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    with_one = np.concatenate([inputs, np.ones_like(inputs[:, :1])], axis=1)
    return np.asarray(with_one @ with_one.transpose(0, 2, 1) / inputs.shape[2], np.float64)


def _round(columns: NDArray[np.float64], moments: NDArray[np.float64]) -> NDArray[np.float32]:
    outputs = np.split(columns, len(moments))  # one for each group if depthwise
    pairs = zip(outputs, moments, strict=True)
    return to_bf16(
        np.concatenate([round_by_feedback(rows, group, _nearest, damping=_DAMPING) for rows, group in pairs])
    )


def _nearest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return to_bf16(values).astype(np.float64)
