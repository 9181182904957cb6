"""Products with one matrix for every position of a feature map, as a convolution with groups."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edge_ad.calibration.graph import add_constant, constants, consumers, drop_unused, infer_shapes, replace_nodes

__all__ = ["positions_as_groups"]

_IMAGES_FIRST = [1, 0, 2]
_CHANNELS_SECOND, _CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def positions_as_groups(model: ModelProto) -> list[str]:
    """Make a 1×1 convolution with a group for each position of every product (P, N, i) × constant (P, i, o).

    One photo makes each of the P products a single row by a matrix, which OpenVINO does faster as a convolution in
    bfloat16, and not always in float32 (``benchmarks/position_products.py``). Images lie along the height of the
    convolution, so that each matrix is read once for all of them; with channels last nothing is moved.

    Changed where the constant is float and read by nothing else.

    Returns:
        Names of the convolutions, those of the products.
    """
    shapes, readers, values = infer_shapes(model), consumers(model), constants(model)
    nodes, changed = [], []
    for node in model.graph.node:
        if _is_by_position(node, shapes, values) and readers[node.input[1]] == [node]:
            nodes += _convolution(model, node, values[node.input[1]])
            changed.append(node.name)
        else:
            nodes.append(node)
    if changed:
        replace_nodes(model, nodes)
        drop_unused(model)
        infer_shapes(model)
    return changed


def _is_by_position(node: NodeProto, shapes: dict[str, tuple[int | str, ...]], values: dict[str, TensorProto]) -> bool:
    if node.op_type != "MatMul" or node.input[1] not in values:
        return False
    matrices, vectors = values[node.input[1]], shapes.get(node.input[0], ())
    by_position = len(matrices.dims) == len(vectors) == 3 and vectors[0] == matrices.dims[0] > 1
    return by_position and matrices.data_type == TensorProto.FLOAT


def _convolution(model: ModelProto, product: NodeProto, matrices: TensorProto) -> list[NodeProto]:
    """The nodes that stand for a product; names of tensors and nodes begin with the product's."""
    name, (positions, inner, outer) = product.name, matrices.dims
    weights = numpy_helper.to_array(matrices).transpose(0, 2, 1).reshape(positions * outer, inner, 1, 1)
    flat = add_constant(model, f"{name}.flat", np.array([1, -1, 1, positions * inner], np.int64))
    apart = add_constant(model, f"{name}.apart", np.array([-1, positions, outer], np.int64))
    kernel = add_constant(model, f"{matrices.name}.groups", np.ascontiguousarray(weights))
    tensors = [product.input[0], *(f"{name}.{step}" for step in range(6)), product.output[0]]
    steps = [
        ("Transpose", [], {"perm": _IMAGES_FIRST}),
        ("Reshape", [flat], {}),
        ("Transpose", [], {"perm": _CHANNELS_SECOND}),
        ("Conv", [kernel], {"group": positions}),
        ("Transpose", [], {"perm": _CHANNELS_LAST}),
        ("Reshape", [apart], {}),
        ("Transpose", [], {"perm": _IMAGES_FIRST}),
    ]
    names = [name if kind == "Conv" else f"{name}.{index}" for index, (kind, _, _) in enumerate(steps)]
    return [
        helper.make_node(kind, [source, *others], [result], called, **options)
        for (kind, others, options), source, result, called in zip(steps, tensors[:-1], tensors[1:], names, strict=True)
    ]
