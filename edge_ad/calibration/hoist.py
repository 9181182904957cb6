"""Let upsampling and concatenation in front of an INT8 layer run in INT8 as well.

Nearest upsampling and concatenation only move values, so quantising before them, with the same scale, gives exactly the
same levels. The pair after them stays: it changes nothing, and TensorRT wants it on both sides.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from edge_ad.calibration.graph import attribute, consumers, producers, replace_nodes

__all__ = ["quantise_moved_values"]


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
