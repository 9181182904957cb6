"""Whether a quantised graph has the one form that every TensorRT takes, asked before a builder sees it.

The form: explicit ``QuantizeLinear``/``DequantizeLinear`` pairs, int8, zero point 0, activations per tensor, weights
per tensor or per channel, biases in float. It is what ONNX Runtime and OpenVINO take too.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edge_ad.calibration.graph import attribute, constants, producers
from edge_ad.errors import BundleError

__all__ = ["check_qdq", "qdq_problems"]

_SHOWN = 3
_PAIR = ("QuantizeLinear", "DequantizeLinear")
_LAYERS = ("Conv", "ConvTranspose", "Gemm")
_BIAS_PLACE = 2
_HINT = (
    "Quantise it symmetrically: int8 activations and weights, zero point 0, float biases "
    "(ONNX Runtime: ActivationSymmetric=True, WeightSymmetric=True, QuantizeBias=False)."
)


def check_qdq(model: ModelProto, where: str = "The graph") -> None:
    """Refuse a quantised graph of another form than TensorRT takes; a graph without Q/DQ passes.

    Args:
        model: Any ONNX graph.
        where: What it is, for the message, such as the file's name.

    Raises:
        BundleError: The message names the first nodes and what is wrong with each.
    """
    problems = qdq_problems(model)
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise BundleError(
            f"{where} is quantised in a form TensorRT refuses: {'; '.join(problems[:_SHOWN])}{more}.", _HINT
        )


def qdq_problems(model: ModelProto) -> list[str]:
    """What is wrong, one line per node; empty for a graph that TensorRT takes."""
    values, sources = constants(model), producers(model)
    lines: list[str] = []
    for node in model.graph.node:
        problem = _operator_problem(node) or _pair_problem(node, model, values) or _bias_problem(node, sources)
        if problem:
            lines.append(f"node {node.name or node.output[0]!r} ({node.op_type}) {problem}")
    return lines


def _operator_problem(node: NodeProto) -> str:
    if node.op_type.startswith("QLinear") or node.op_type in ("ConvInteger", "MatMulInteger"):
        return "computes on integers by itself (QOperator form), instead of between Q/DQ pairs"
    if node.op_type == "DynamicQuantizeLinear":
        return "takes its scale from each input"
    return ""


def _pair_problem(node: NodeProto, model: ModelProto, values: dict[str, TensorProto]) -> str:
    if node.op_type not in _PAIR:
        return ""
    kind, zeros = _levels_of(node, model, values)
    if kind == TensorProto.INT32:
        return "holds a bias in int32; biases must stay in float"
    if kind != TensorProto.INT8:
        return f"is {TensorProto.DataType.Name(kind).lower()}, not int8"
    if zeros is None:
        return "has a zero point that is computed, not constant"
    if zeros.any():
        return f"has the zero point {int(zeros.flat[int(np.flatnonzero(zeros)[0])])}, not 0"
    if node.input[1] not in values:
        return "has a scale that is computed, not constant"
    return ""


def _levels_of(
    node: NodeProto, model: ModelProto, values: dict[str, TensorProto]
) -> tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None]:
    """Type of the levels, and the zero points; none where they are not constant."""
    if len(node.input) > 2 and node.input[2]:
        zero = values.get(node.input[2])
        if zero is None:
            return _stated_type(node, model), None
        return zero.data_type, numpy_helper.to_array(zero)
    none = np.zeros(1, np.int8)  # left out: 0
    if node.op_type == "DequantizeLinear" and node.input[0] in values:
        return values[node.input[0]].data_type, none
    return _stated_type(node, model), none


def _stated_type(node: NodeProto, model: ModelProto) -> int:
    """Type of the levels of a node without a constant zero point; ONNX's own is uint8."""
    asked = attribute(node, "output_dtype", 0)
    if node.op_type == "QuantizeLinear":
        return int(str(asked)) or TensorProto.UINT8
    types = {info.name: info.type.tensor_type.elem_type for info in (*model.graph.value_info, *model.graph.input)}
    source = producers(model).get(node.input[0])
    if source is not None and source.op_type == "QuantizeLinear":
        return _levels_of(source, model, constants(model))[0]
    return int(types.get(node.input[0], TensorProto.INT8))


def _bias_problem(node: NodeProto, sources: dict[str, NodeProto]) -> str:
    if node.op_type not in _LAYERS or len(node.input) <= _BIAS_PLACE:
        return ""
    source = sources.get(node.input[_BIAS_PLACE])
    if source is not None and source.op_type == "DequantizeLinear":
        return "has a quantised bias; biases must stay in float"
    return ""
