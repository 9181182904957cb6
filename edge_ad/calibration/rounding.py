"""Round weights so that the error of one makes up for that of others, as far as their inputs go together.

GPTQ (Frantar et al. 2023, "Accurate post-training quantization for generative pre-trained transformers"), which rounds
one weight of each output after the other and lets those that are still to come take the error: the sum over the inputs
is what must be right, not the single weight.

An engine in bfloat16 rounds weights and biases to 8 bits, each by itself. The error of a bias depends on the photo once
ReLU6 has cut it, and errors of weights add up where neighbouring, that is nearly equal, pixels are multiplied by them.
Rounded here by error feedback, with the bias as the weight of a constant input, most of that cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from edge_ad.calibration.graph import attribute, constants, with_outputs
from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.qdq import LEVELS, weight_scales

__all__ = ["round_by_feedback", "round_to_bf16", "round_with_moments", "second_moments", "to_bf16", "with_constants"]

Columns = NDArray[np.float64]
Arrays = dict[str, NDArray[np.float32]]

_INT8_DAMPING = 0.01  # of the mean second moment; the paper's
# Neighbouring pixels are nearly equal, and that is what is made use of.
_BF16_DAMPING = 1e-4


def round_by_feedback(
    exact: Columns, moments: Columns, rounding: Callable[[Columns], Columns], *, damping: float
) -> Columns:
    """Round one input after the other, those that matter most first.

    Args:
        exact: float64 (outputs, inputs).
        moments: float64 (inputs, inputs), mean of the products of two inputs.
        rounding: Rounds the weights of an input, float64 (outputs,).
        damping: Added to the moments, as a share of their mean diagonal; the paper's is 0.01.

    Returns:
        float64 (outputs, inputs), all of them as ``rounding`` gives them.
    """
    order = np.argsort(-np.diag(moments), kind="stable")
    rest = exact[:, order]
    feedback = _feedback(moments[np.ix_(order, order)], damping)
    rounded = np.empty_like(rest)
    for index in range(rest.shape[1]):
        rounded[:, index] = rounding(rest[:, index])
        error = (rest[:, index] - rounded[:, index]) / feedback[index, index]
        rest[:, index:] -= np.outer(error, feedback[index, index:])
    restored = np.empty_like(rounded)
    restored[:, order] = rounded
    return restored


def _feedback(moments: Columns, damping: float) -> Columns:
    """Row i: what an error of input i costs, and how the inputs after it make up for it; upper triangular."""
    mean = float(np.trace(moments)) / len(moments)
    damped = moments + np.eye(len(moments)) * (damping * mean or 1.0)
    return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T, np.float64)


def round_with_moments(weight: NDArray[np.float32], moments: NDArray[np.float64]) -> NDArray[np.int8]:
    """Symmetric int8 per output, by error feedback.

    Args:
        weight: float32 (outputs, inputs, ...), with ones behind, as of a 1×1 convolution.
        moments: float64 (inputs, inputs) mean of the products of two inputs.

    Returns:
        int8 of the shape of the weight, in [-127, 127]; level 127 is the largest magnitude of an output's weights.
    """
    exact = weight.reshape(len(weight), -1) / weight_scales(weight, 0)[:, np.newaxis]
    levels = round_by_feedback(exact.astype(np.float64), moments, _to_levels, damping=_INT8_DAMPING)
    return levels.reshape(weight.shape).astype(np.int8)


def second_moments(
    model: ModelProto, clips: Mapping[str, float], frames: Iterable[NDArray[np.uint8]]
) -> dict[str, NDArray[np.float64]]:
    """How the channels of some tensors go together, once they are rounded to int8.

    Args:
        model: Float deploy graph or its backbone.
        clips: Tensors to look at, float (1, C, h, w) → magnitude that becomes level 127.
        frames: uint8 (1, H, W, 3) each, at least one.

    Returns:
        Tensor → float64 (C, C), the mean over frames and positions of the products of two channels.
    """
    if not clips:
        return {}
    session, feed = create_session(with_outputs(model, list(clips))), model.graph.input[0].name
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in clips}
    for frame in frames:
        for name, values in zip(clips, session.run(list(clips), {feed: frame}), strict=True):
            found[name].append(_moments_of_levels(values[0], clips[name] / LEVELS))
    return {name: np.mean(products, axis=0) for name, products in found.items()}


def _moments_of_levels(values: NDArray[np.float32], scale: float) -> NDArray[np.float64]:
    rounded = np.clip(np.rint(values.reshape(len(values), -1) / scale), -LEVELS, LEVELS)
    levels = np.asarray(rounded, np.float32)
    return np.asarray((levels @ levels.T) * (scale * scale / levels.shape[1]), np.float64)


def _to_levels(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.rint(values), -LEVELS, LEVELS)


def to_bf16(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Round to the nearest bfloat16, ties to even; finite values of any shape."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def round_to_bf16(model: ModelProto, layers: Collection[str], frames: Iterable[NDArray[np.uint8]]) -> Arrays:
    """Weights and biases of 1×1 and depthwise convolutions that will be computed in bfloat16.

    Args:
        model: Deploy graph, in float or with Q/DQ.
        layers: Names of nodes to round; what is INT8, or no such convolution, is left out.
        frames: uint8 (1, H, W, 3) each, at least one: what the convolutions see.

    Returns:
        Name of a constant → its values, every one a bfloat16 number.
    """
    weights = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items()}
    nodes = [node for node in model.graph.node if node.name in layers and _is_rounded(node, weights)]
    rounded: Arrays = {}
    for node, moments in _moments_with_one(model, nodes, weights, frames):
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
    if node.op_type != "Conv" or not all(name in weights for name in node.input[1:]):
        return False
    weight = weights[node.input[1]]
    return len(node.input) == 3 and (_is_depthwise(node, weight) or set(weight.shape[2:]) == {1} == {_groups(node)})


def _is_depthwise(node: NodeProto, weight: NDArray[np.float32]) -> bool:
    return weight.shape[1] == 1 and _groups(node) == len(weight) > 1


def _groups(node: NodeProto) -> int:
    return _integers(node, "group", [1])[0]


def _integers(node: NodeProto, name: str, default: list[int]) -> list[int]:
    return [int(value) for value in np.ravel(np.asarray(attribute(node, name, default)))]


def _moments_with_one(
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
        np.concatenate([round_by_feedback(rows, group, _nearest, damping=_BF16_DAMPING) for rows, group in pairs])
    )


def _nearest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return to_bf16(values).astype(np.float64)
