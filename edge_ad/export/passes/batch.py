"""Make the batch of a graph dynamic that was traced with one batch size.

Tracing with a fixed, odd batch size gives a graph without shape arithmetic; what it wrote down of that size is then
generalised here. A symbolic batch instead takes five times as long to trace and leaves a Shape node per resize.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from edge_ad.calibration.graph import add_constant, constants, infer_shapes, remove_nodes, replace_uses, set_attribute
from edge_ad.errors import EdgeAdError

__all__ = ["make_batch_dynamic", "resize_by_scale"]


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
