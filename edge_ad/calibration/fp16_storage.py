"""What FP16 does to the numbers of a graph, on a processor without FP16 arithmetic.

ONNX Runtime and OpenVINO compute an FP16 graph in float32 on most CPUs and leave out the rounding in between, so that
their engines show neither the lost digits nor an overflow that a GPU would.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from edge_ad.calibration.graph import infer_shapes, replace_nodes

__all__ = ["round_tensors"]


def round_tensors(half: ModelProto) -> ModelProto:
    """Compute every node in FP32 and round what it makes to FP16, as matrix units with FP32 sums do.

    Args:
        half: FP16 graph, as `convert_to_fp16` makes it; it is left as it is.

    Returns:
        A graph for ONNX Runtime, which does not leave out a Cast that is written down.
    """
    model = ModelProto.FromString(half.SerializeToString())
    infer_shapes(model)
    halves = {item.name for item in model.graph.value_info if item.type.tensor_type.elem_type == TensorProto.FLOAT16}
    constants = _widen_constants(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        made = [name for name in node.output if name in halves]
        nodes.append(node)
        if made and node.op_type != "Cast":
            node.input[:] = [_wide(name) if name in halves and name not in constants else name for name in node.input]
            node.output[:] = [f"{name}.exact" if name in halves else name for name in node.output]
            nodes.extend(_cast(f"{name}.exact", name, TensorProto.FLOAT16) for name in made)
        nodes.extend(_cast(name, _wide(name), TensorProto.FLOAT) for name in made)
    replace_nodes(model, nodes)
    del model.graph.value_info[:]
    checker.check_model(model, full_check=True)
    return model


def _widen_constants(model: ModelProto) -> set[str]:
    """Make FP16 constants FP32, with the values that FP16 left them."""
    widened = set()
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            value = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
            widened.add(tensor.name)
    return widened


def _wide(name: str) -> str:
    return f"{name}.wide"


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], f"rounding:{target}", to=kind)
