"""Lower a graph to the newest opset that TensorRT 8.6 parses."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, NodeProto, TensorProto, defs, numpy_helper

from edge_ad.calibration.graph import constants, set_attribute
from edge_ad.errors import EdgeAdError

__all__ = ["OPSET", "lower_opset"]

OPSET = 17
_IR_VERSION = 8  # that of ONNX 1.12, which introduced opset 17
_AXES_AS_INPUT = ("ReduceMax", "ReduceMean", "ReduceMin")
_RESIZE_NEWS = ("antialias", "keep_aspect_ratio_policy")  # torch writes them with their defaults


def lower_opset(model: ModelProto) -> None:
    """Rewrite operators whose form changed after opset 17, and say opset 17.

    Raises:
        EdgeAdError: An operator that opset 17 cannot express.
    """
    values = constants(model)
    for node in model.graph.node:
        if node.op_type in _AXES_AS_INPUT:
            _axes_to_attribute(node, values)
        elif node.op_type == "Resize":
            for name in _RESIZE_NEWS:
                set_attribute(node, name, None)
        elif node.op_type == "Split":
            set_attribute(node, "num_outputs", None)
        elif not _is_expressible(node):
            raise EdgeAdError(
                f"The operator {node.op_type} ({node.name}) has no form in opset {OPSET}.",
                "Rewrite it in the model: TensorRT 8.6 knows no newer opset.",
            )
    del model.opset_import[1:]
    model.opset_import[0].version = OPSET
    model.ir_version = _IR_VERSION


def _axes_to_attribute(node: NodeProto, values: Mapping[str, TensorProto]) -> None:
    if len(node.input) > 1:
        set_attribute(node, "axes", numpy_helper.to_array(values[node.input[1]]).tolist())
        set_attribute(node, "noop_with_empty_axes", None)
        del node.input[1:]


def _is_expressible(node: NodeProto) -> bool:
    """Whether a node written for a later opset means the same in ours: later ones may only have widened the types."""
    try:
        then = defs.get_schema(node.op_type, OPSET)
    except defs.SchemaError:
        return False
    if node.domain or any(item.name not in then.attributes for item in node.attribute):
        return False
    is_variadic = then.inputs and then.inputs[-1].option == defs.OpSchema.FormalParameterOption.Variadic
    return bool(is_variadic) or len(node.input) <= len(then.inputs)
