"""Lower a graph to the newest opset that TensorRT 8.6 parses."""

from __future__ import annotations

import ast
from collections import Counter
from onnx import ModelProto, NodeProto
from collections.abc import Mapping
from onnx import ModelProto, NodeProto, TensorProto, defs, numpy_helper
from edge_ad.calibration.graph import constants, set_attribute
from edge_ad.errors import EdgeAdError
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from edge_ad.calibration.graph import add_constant, constants, infer_shapes, remove_nodes, replace_uses, set_attribute

__all__ = ['OPSET', 'lower_opset', 'make_batch_dynamic', 'name_layers', 'resize_by_scale']

_SCOPES = "pkg.torch.onnx.name_scopes"
_ROOT = "detector."
OPSET = 17
_IR_VERSION = 8  # that of ONNX 1.12, which introduced opset 17
_AXES_AS_INPUT = ("ReduceMax", "ReduceMean", "ReduceMin")
_RESIZE_NEWS = ("antialias", "keep_aspect_ratio_policy")  # torch writes them with their defaults


def name_layers(model: ModelProto) -> None:
    """Name nodes by module path and operator, such as ``unet.encoder.0.3`` or ``msgms/Sqrt``; drop traces of origin.

    A node with a weight is named as the module that owns the weight. The traces would show the folders of the machine.
    """
    weights = {tensor.name for tensor in model.graph.initializer if tensor.name.endswith(".weight")}
    taken: Counter[str] = Counter()
    for node in model.graph.node:
        name = _layer_name(node, weights)
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        node.doc_string = ""
        del node.metadata_props[:]
    for item in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""


def _layer_name(node: NodeProto, weights: set[str]) -> str:
    weight = next((name for name in node.input if name in weights), None)
    if weight is not None:
        return str(weight).removesuffix(".weight").removeprefix(_ROOT)
    scope = _innermost_module(node)
    return f"{scope}/{node.op_type}" if scope else node.op_type


def _innermost_module(node: NodeProto) -> str:
    text = next((item.value for item in node.metadata_props if item.key == _SCOPES), "[]")
    modules = [scope for scope in ast.literal_eval(text)[:-1] if scope]
    return modules[-1].removeprefix(_ROOT) if modules else ""


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


def make_batch_dynamic(model: ModelProto, traced: int, name: str = "N") -> None:
    """Replace the traced batch size by a dynamic one.

    Args:
        model: Graph whose inputs and outputs all have the batch first.
        traced: Batch size it was traced with, one that no other dimension has.
        name: Name of the dynamic dimension.

    Raises:
        EdgeAdError: A shape depends on the batch in a way that is not known here.
    """
    _generalise_reshapes(model, traced)
    _shrink_repeated_constants(model, traced)
    _drop_expansions(model, traced)
    for item in (*model.graph.input, *model.graph.output):
        item.type.tensor_type.shape.dim[0].dim_param = name
    shapes = infer_shapes(model)
    fixed = sorted(tensor for tensor, shape in shapes.items() if traced in shape)
    if fixed:
        raise EdgeAdError(f"The batch size cannot be made dynamic: {', '.join(fixed[:3])} depend on it.")


def resize_by_scale(model: ModelProto) -> None:
    """Give every Resize constant scales instead of a size, which would include the batch."""
    shapes = infer_shapes(model)
    for node in model.graph.node:
        if node.op_type == "Resize" and len(node.input) == 4 and node.input[3]:
            before, after = shapes[node.input[0]], shapes[node.output[0]]
            scales = np.array([1.0, 1.0, *(int(b) / int(a) for a, b in zip(before[2:], after[2:], strict=True))])
            name = add_constant(model, f"{node.output[0]}.scales", scales.astype(np.float32))
            del node.input[1:]
            node.input.extend(["", name])


def _generalise_reshapes(model: ModelProto, traced: int) -> None:
    shapes, values = infer_shapes(model), constants(model)
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] not in values:
            continue
        target = numpy_helper.to_array(values[node.input[1]]).copy()
        places = np.flatnonzero(target == traced)
        if not places.size:
            continue
        # A 0 copies the dimension of the input at the same place; elsewhere -1 leaves it to the other dimensions.
        place, source = int(places[0]), shapes[node.input[0]]
        target[place] = 0 if place < len(source) and source[place] == traced else -1
        node.input[1] = add_constant(model, f"{node.output[0]}.shape", target)
        set_attribute(node, "allowzero", None)


def _shrink_repeated_constants(model: ModelProto, traced: int) -> None:
    """Constants that the exporter repeated for every image: one image of them broadcasts."""
    for tensor in model.graph.initializer:
        if tensor.dims and tensor.dims[0] == traced:
            value = numpy_helper.to_array(tensor)
            if _is_repeated(value):
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value[:1]), tensor.name))


def _is_repeated(value: NDArray[np.generic]) -> bool:
    return value.ndim >= 4 and bool((value == value[:1]).all())


def _drop_expansions(model: ModelProto, traced: int) -> None:
    """Expansions of one image to the batch: what reads them broadcasts."""
    values = constants(model)
    dropped = []
    for node in model.graph.node:
        shape = values.get(node.input[1]) if node.op_type == "Expand" else None
        if shape is not None and traced in numpy_helper.to_array(shape):
            replace_uses(model, node.output[0], node.input[0])
            dropped.append(node)
    remove_nodes(model, dropped)
