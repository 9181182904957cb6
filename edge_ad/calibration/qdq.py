"""Insert explicit Q/DQ: symmetric int8, per-channel weights, per-tensor activations, float bias.

This is the one form that TensorRT 8.6 to 11, TensorRT-RTX, OpenVINO and ONNX Runtime all take, and OpenVINO's fastest.
Outputs of convolutions are not quantised: the next layer quantises its input, after the activation in between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, checker, helper, numpy_helper

from edge_ad.calibration.graph import (
    add_constant,
    attribute,
    constants,
    consumers,
    drop_unused,
    producers,
    replace_nodes,
)

__all__ = [
    "LEVELS",
    "QUANTISABLE",
    "insert_qdq",
    "quantisable_layers",
    "quantise_moved_values",
    "quantise_weight",
    "weight_scales",
]

QUANTISABLE = ("Conv", "MatMul", "Gemm")
LEVELS = 127
"""Symmetric int8 is -127..127."""
_SMALLEST_SCALE = 1e-8


def quantisable_layers(model: ModelProto) -> list[NodeProto]:
    """Nodes with a constant weight that has an INT8 form, in the order of the graph."""
    values = constants(model)
    return [node for node in model.graph.node if node.op_type in QUANTISABLE and node.input[1] in values]


def insert_qdq(
    model: ModelProto,
    layers: Collection[str],
    clips: Mapping[str, float],
    rounded: Mapping[str, NDArray[np.int8]] = MappingProxyType({}),
) -> ModelProto:
    """Quantise inputs and weights of some layers.

    Args:
        model: Float graph; it is left as it is.
        layers: Names of its nodes to quantise.
        clips: Input tensor → magnitude that becomes level 127.
        rounded: Layer → its weight as int8 levels, on the scales of `weight_scales`; of others to the nearest level.
            A weight that several layers read is rounded as for the first of them.

    Returns:
        The graph with Q/DQ, accepted by ``onnx.checker``.
    """
    quantised = ModelProto.FromString(model.SerializeToString())
    weights = {name: numpy_helper.to_array(tensor) for name, tensor in constants(quantised).items()}
    nodes: list[NodeProto] = []
    done: dict[str, str] = {}  # a tensor that several layers read is quantised once
    for node in quantised.graph.node:
        if node.name in layers:
            source, weight = node.input[0], node.input[1]
            if source not in done:
                done[source] = _quantise_activation(quantised, nodes, source, clips[source])
            key = f"{weight}:{node.op_type}"
            if key not in done:
                done[key] = _quantise_weight_of(quantised, nodes, node, weights[weight], rounded.get(node.name))
            node.input[0], node.input[1] = done[source], done[key]
        nodes.append(node)
    replace_nodes(quantised, nodes)
    quantise_moved_values(quantised)
    drop_unused(quantised)
    checker.check_model(quantised, full_check=True)
    return quantised


def quantise_weight(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 per channel.

    Args:
        weight: Any shape.
        axis: Axis of the output channels, C long.

    Returns:
        int8 weight of the same shape, in [-127, 127], and float32 (C,) scales.
    """
    scales = weight_scales(weight, axis)
    levels = np.rint(weight / np.expand_dims(scales, _other_axes(weight, axis)))
    return np.clip(levels, -LEVELS, LEVELS).astype(np.int8), scales


def weight_scales(weight: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """float32 (C,): what one int8 level is worth for each output channel; arguments as in `quantise_weight`."""
    largest = np.abs(weight).max(axis=_other_axes(weight, axis))
    return np.asarray(np.maximum(largest / LEVELS, _SMALLEST_SCALE), np.float32)


def _other_axes(weight: NDArray[np.float32], axis: int) -> tuple[int, ...]:
    return tuple(index for index in range(weight.ndim) if index != axis)


def _quantise_activation(model: ModelProto, nodes: list[NodeProto], tensor: str, clip: float) -> str:
    scale = add_constant(model, f"{tensor}.scale", np.array(max(clip / LEVELS, _SMALLEST_SCALE), np.float32))
    zero = add_constant(model, f"{tensor}.zero_point", np.array(0, np.int8))
    levels, restored = f"{tensor}.int8", f"{tensor}.dequantised"
    nodes.append(helper.make_node("QuantizeLinear", [tensor, scale, zero], [levels], f"{tensor}/quantise"))
    nodes.append(helper.make_node("DequantizeLinear", [levels, scale, zero], [restored], f"{tensor}/dequantise"))
    return restored


def _quantise_weight_of(
    model: ModelProto,
    nodes: list[NodeProto],
    node: NodeProto,
    weight: NDArray[np.float32],
    rounded: NDArray[np.int8] | None,
) -> str:
    axis = 0 if node.op_type == "Conv" or _is_transposed_gemm(node) else weight.ndim - 1
    nearest, scales = quantise_weight(weight, axis)
    levels = nearest if rounded is None else rounded
    name = node.input[1]
    inputs = [
        add_constant(model, f"{name}.int8", levels),
        add_constant(model, f"{name}.scale", scales),
        add_constant(model, f"{name}.zero_point", np.zeros(scales.shape, np.int8)),
    ]
    restored = f"{name}.dequantised"
    nodes.append(helper.make_node("DequantizeLinear", inputs, [restored], f"{name}/dequantise", axis=axis))
    return restored


def _is_transposed_gemm(node: NodeProto) -> bool:
    return node.op_type == "Gemm" and any(item.name == "transB" and item.i for item in node.attribute)


def quantise_moved_values(model: ModelProto) -> None:
    """Add Q/DQ in front of nearest Resize and Concat whose result is quantised and read by nothing else."""
    before: dict[int, list[NodeProto]] = {}  # id of a node → nodes to run right before it
    makers, readers = producers(model), consumers(model)
    pending = [(node, makers.get(node.input[0])) for node in model.graph.node if node.op_type == "QuantizeLinear"]
    while pending:
        quantiser, mover = pending.pop()
        if mover is None or not _only_moves(mover) or len(readers[mover.output[0]]) != 1:
            continue
        for index in range(len(mover.input) if mover.op_type == "Concat" else 1):
            source = mover.input[index]
            levels, restored = f"{mover.output[0]}.int8.{index}", f"{mover.output[0]}.dequantised.{index}"
            parameters = list(quantiser.input[1:])
            name = f"{mover.name}/{index}"
            quantise = helper.make_node("QuantizeLinear", [source, *parameters], [levels], f"{name}/quantise")
            dequantise = helper.make_node("DequantizeLinear", [levels, *parameters], [restored], f"{name}/dequantise")
            mover.input[index] = restored
            before.setdefault(id(mover), []).extend([quantise, dequantise])
            pending.append((quantise, makers.get(source)))
    nodes = [added for node in model.graph.node for added in (*before.get(id(node), ()), node)]
    replace_nodes(model, nodes)


def _only_moves(node: NodeProto) -> bool:
    return node.op_type == "Concat" or (node.op_type == "Resize" and attribute(node, "mode") == b"nearest")
