"""Which nodes of a graph stay in FP32 when it becomes FP16, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from edge_ad.calibration.fp16 import float_tensors, half_inputs
from edge_ad.calibration.graph import constants
from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.qdq import QUANTISABLE
from edge_ad.calibration.ranges import with_outputs

__all__ = ["LARGEST_MAGNITUDE", "keep_in_fp32", "measure_magnitudes"]

LARGEST_MAGNITUDE = 65504.0 / 4
"""A quarter of the largest FP16 number: what is inspected may exceed what was measured on good parts."""

_SMALLEST_MAGNITUDE = 2.0**-14  # below it FP16 loses digits, and an epsilon becomes 0
_JUDGES = ("mask_source", "own_distance", "gaussian", "distance", "nearest", "predictor", "msgms", "ssim", "smoothing")
# Sums over many values, what steepens a difference near 0, and comparisons that turn a small difference into another
# mask.
_SUMS = {
    "ReduceSum",
    "ReduceMean",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSumExp",
    "CumSum",
}
_CURVES = {"Pow", "Sqrt", "Reciprocal", "Exp", "Log", "Softmax", "LayerNormalization"}
_COMPARISONS = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "ArgMax", "ArgMin", "TopK"}
_FRAGILE = _SUMS | _CURVES | _COMPARISONS


def measure_magnitudes(model: ModelProto, frames: Iterable[NDArray[np.generic]]) -> dict[str, float]:
    """Run a float graph on frames.

    Args:
        model: Deploy graph.
        frames: One input each, such as uint8 (1, H, W, 3).

    Returns:
        Float tensor that a node makes → largest magnitude seen; infinity where something was not finite.
    """
    floats = float_tensors(model)
    tensors = [name for node in model.graph.node for name in node.output if name in floats]
    session: Any = create_session(with_outputs(model, tensors))
    largest = dict.fromkeys(tensors, 0.0)
    for frame in frames:
        for name, values in zip(tensors, session.run(tensors, {model.graph.input[0].name: frame}), strict=True):
            largest[name] = max(largest[name], _magnitude(values))
    return largest


def keep_in_fp32(model: ModelProto, magnitudes: Mapping[str, float]) -> dict[str, str]:
    """Choose the nodes that stay in FP32.

    FP16 is for the networks: what lies between the first and the last layer with a weight, as far as it neither judges
    distances or errors, nor sums or compares, nor leaves the range of FP16.

    Args:
        model: Float graph in topological order.
        magnitudes: Tensor → largest magnitude, as `measure_magnitudes` gives it.

    Returns:
        Name of a node → reason, in the order of the graph.
    """
    floats = float_tensors(model)
    values = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items() if name in floats}
    layers = {node.name for node in model.graph.node if _is_layer(node, values)}
    after, before = _descendants(model, layers), _ancestors(model, layers)
    kept: dict[str, str] = {}
    for node in model.graph.node:
        if not floats.intersection((*node.input, *node.output)):
            continue  # it computes on integers or booleans
        reason = _fragility(node) or _range_problem(node, floats, values, magnitudes)
        if not reason and node.name not in after:
            reason = "before the first layer: preparation of the input"
        elif not reason and node.name not in before:
            reason = "after the last layer: anomaly map and score"
        if reason:
            kept[node.name] = reason
    return kept


def _is_layer(node: NodeProto, values: Mapping[str, NDArray[Any]]) -> bool:
    is_network = "/" not in node.name and not _judge(node)  # a slash: an operator without a weight of its module
    return is_network and node.op_type in (*QUANTISABLE, "ConvTranspose") and node.input[1] in values


def _judge(node: NodeProto) -> str:
    """The judging module that a node, or a constant that it reads, belongs to; else nothing."""
    parts = [part for name in (node.name.split("/")[0], *node.input) for part in name.split(".")]
    return next((part for part in parts if part in _JUDGES), "")


def _fragility(node: NodeProto) -> str:
    if judge := _judge(node):
        return f"{judge} judges distances or errors"
    if node.op_type in _FRAGILE:
        return f"{node.op_type} is numerically fragile"
    if node.op_type == "Mul" and node.input[0] == node.input[1]:
        return "a square is numerically fragile"
    return ""


def _range_problem(
    node: NodeProto, floats: Collection[str], values: Mapping[str, NDArray[Any]], magnitudes: Mapping[str, float]
) -> str:
    read = [node.input[place] for place in half_inputs(node, floats)]
    for name in (*read, *(name for name in node.output if name in floats)):
        largest = _magnitude(values[name]) if name in values else magnitudes.get(name, 0.0)
        if not largest <= LARGEST_MAGNITUDE:
            return f"{name} reaches {largest:.4g}; FP16 is used up to {LARGEST_MAGNITUDE:g}"
    for name in read:
        if name in values and values[name].size == 1 and 0 < _magnitude(values[name]) < _SMALLEST_MAGNITUDE:
            return f"the constant {name} ({float(values[name].item()):.1e}) is too small for FP16"
    return ""


def _magnitude(values: NDArray[Any]) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    return largest if np.isfinite(largest) else float("inf")


def _descendants(model: ModelProto, names: Collection[str]) -> set[str]:
    """Names of nodes, and of all that read what they make."""
    found, made = set(names), set[str]()
    for node in model.graph.node:
        if node.name in found or made.intersection(node.input):
            found.add(node.name)
            made.update(node.output)
    return found


def _ancestors(model: ModelProto, names: Collection[str]) -> set[str]:
    """Names of nodes, and of all that make what they read."""
    found, read = set(names), set[str]()
    for node in reversed(model.graph.node):
        if node.name in found or read.intersection(node.output):
            found.add(node.name)
            read.update(node.input)
    return found
