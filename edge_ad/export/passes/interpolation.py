"""Linear interpolation and mean filters of single-channel maps as matrix products.

Both are linear and separable: ``Y = A X Bᵀ`` with constant A and B. Backends parallelise an interpolation over channels
and so run one of a single map on one core; the product of the same values is several times faster.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from edge_ad.calibration.graph import add_constant, attribute, infer_shapes, replace_nodes

__all__ = ["interpolation_matrix", "maps_by_matrix_product", "mean_matrix"]


def maps_by_matrix_product(model: ModelProto) -> None:
    """Rewrite linear Resize and one-dimensional AveragePool of tensors (N, 1, h, w) as MatMul."""
    shapes = infer_shapes(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        before, after = shapes.get(node.input[0] if node.input else "", ()), shapes.get(node.output[0], ())
        matrices = _matrices(node, before, after) if len(before) == 4 and before[1] == 1 else None
        nodes.extend([node] if matrices is None else _products(model, node, *matrices))
    replace_nodes(model, nodes)


def interpolation_matrix(size: int, target: int) -> NDArray[np.float32]:
    """Linear interpolation, pixel centres at half-integers, borders replicated: (target, size), rows sum to 1."""
    position = (np.arange(target) + 0.5) * size / target - 0.5
    floor = np.floor(position)
    matrix: NDArray[np.float64] = np.zeros((target, size))
    rows = np.arange(target)
    np.add.at(matrix, (rows, np.clip(floor, 0, size - 1).astype(int)), 1 - (position - floor))
    np.add.at(matrix, (rows, np.clip(floor + 1, 0, size - 1).astype(int)), position - floor)
    return np.asarray(matrix, np.float32)


def mean_matrix(size: int, window: int) -> NDArray[np.float32]:
    """Mean over an odd window, at the border over what exists: (size, size), rows sum to 1."""
    offset = np.abs(np.arange(size)[:, None] - np.arange(size)[None])
    band = (offset <= window // 2).astype(np.float64)
    return np.asarray(band / band.sum(1, keepdims=True), np.float32)


_PIXEL_CENTRES = (b"half_pixel", b"pytorch_half_pixel")
_Matrices = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]


def _matrices(node: NodeProto, before: tuple[int | str, ...], after: tuple[int | str, ...]) -> _Matrices | None:
    """Matrices for the rows and the columns; None for an axis that stays, and for nodes of another kind."""
    height, width = int(before[2]), int(before[3])
    if node.op_type == "Resize" and attribute(node, "mode") == b"linear":
        if attribute(node, "coordinate_transformation_mode", b"half_pixel") not in _PIXEL_CENTRES:
            return None
        return interpolation_matrix(height, int(after[2])), interpolation_matrix(width, int(after[3]))
    if node.op_type == "AveragePool" and before == after and not attribute(node, "count_include_pad", 0):
        window_h, window_w = cast("list[int]", attribute(node, "kernel_shape"))
        if attribute(node, "pads") == [window_h // 2, window_w // 2] * 2:
            rows = mean_matrix(height, window_h) if window_h > 1 else None
            return rows, mean_matrix(width, window_w) if window_w > 1 else None
    return None


def _products(
    model: ModelProto, node: NodeProto, rows: NDArray[np.float32] | None, columns: NDArray[np.float32] | None
) -> list[NodeProto]:
    steps: list[NodeProto] = []
    source, target = node.input[0], node.output[0]
    if columns is not None:
        across = target if rows is None else f"{target}.across"
        matrix = add_constant(model, f"{target}.columns", np.ascontiguousarray(columns.T))
        steps.append(helper.make_node("MatMul", [source, matrix], [across], f"{node.name}/columns"))
        source = across
    if rows is not None:
        matrix = add_constant(model, f"{target}.rows", rows)
        steps.append(helper.make_node("MatMul", [matrix, source], [target], f"{node.name}/rows"))
    return steps
