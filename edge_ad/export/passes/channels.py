"""How many channels lie between the layers of an inverted bottleneck."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from edge_ad.calibration.graph import attribute, constants, consumers, infer_shapes, producers, set_attribute
from typing import cast
from onnx import ModelProto, NodeProto, helper
from edge_ad.calibration.graph import add_constant, attribute, infer_shapes, replace_nodes

__all__ = ['fill_channels', 'interpolation_matrix', 'maps_by_matrix_product', 'mean_matrix']

_BLOCK = 32  # bfloat16 numbers of a row that AMX multiplies at once


def fill_channels(model: ModelProto) -> list[str]:
    """Fill up the inner channels of float bottlenecks with zeros to whole blocks of 32.

    In bfloat16 a 1×1 convolution that sums over 144 channels takes OpenVINO twice the time of one over 160. A channel
    whose weights are all zero is zero in front of it and changes no sum.

    Changed where convolution → depthwise convolution → 1×1 convolution read nothing but each other, with at most a
    ``Clip`` that keeps zero between them, and all weights are float constants of their own.

    Returns:
        Names of the 1×1 convolutions that sum over more channels now.
    """
    readers, sources, values = consumers(model), producers(model), constants(model)
    changed = []
    for last in [node for node in model.graph.node if node.op_type == "Conv"]:
        depthwise = _reads(last, sources, readers, values)
        first = None if depthwise is None else _reads(depthwise, sources, readers, values)
        if depthwise is None or first is None or not _is_bottleneck(first, depthwise, last, values):
            continue
        missing = -values[last.input[1]].dims[1] % _BLOCK
        if missing and _are_own([first, depthwise, last], readers, values):
            _fill(first, depthwise, last, missing, values)
            changed.append(last.name)
    if changed:
        infer_shapes(model)
    return changed


def _reads(
    node: NodeProto,
    sources: dict[str, NodeProto],
    readers: dict[str, list[NodeProto]],
    values: dict[str, TensorProto],
) -> NodeProto | None:
    """The convolution that only this node reads, through at most a ``Clip`` that leaves zero as it is."""
    source, reader = sources.get(node.input[0]), node
    if source is not None and source.op_type == "Clip" and readers[source.output[0]] == [node]:
        if not _keeps_zero(source, values):
            return None
        source, reader = sources.get(source.input[0]), source
    alone = source is not None and source.op_type == "Conv" and readers[source.output[0]] == [reader]
    return source if alone else None


def _keeps_zero(clip: NodeProto, values: dict[str, TensorProto]) -> bool:
    if any(name and name not in values for name in clip.input[1:]):
        return False
    limits = [_value(values[name]).item() if name else 0 for name in clip.input[1:]]
    least, most = [*limits, 0, 0][:2]
    return bool(least <= 0 <= most)


def _is_bottleneck(first: NodeProto, depthwise: NodeProto, last: NodeProto, values: dict[str, TensorProto]) -> bool:
    if any(node.input[1] not in values for node in (first, depthwise, last)):
        return False
    channels, sides = values[last.input[1]].dims[1], values[last.input[1]].dims[2:]
    groups = [attribute(node, "group", 1) for node in (first, depthwise, last)]
    return (
        groups == [1, channels, 1] and list(values[depthwise.input[1]].dims[:2]) == [channels, 1] and set(sides) == {1}
    )


def _are_own(nodes: list[NodeProto], readers: dict[str, list[NodeProto]], values: dict[str, TensorProto]) -> bool:
    """Whether weights and biases are constants that no other node reads."""
    return all(name in values and readers[name] == [node] for node in nodes for name in node.input[1:] if name)


def _fill(
    first: NodeProto, depthwise: NodeProto, last: NodeProto, missing: int, values: dict[str, TensorProto]
) -> None:
    for node in (first, depthwise):
        for name in filter(None, node.input[1:]):
            _append_zeros(values[name], missing, axis=0)
    _append_zeros(values[last.input[1]], missing, axis=1)
    set_attribute(depthwise, "group", values[depthwise.input[1]].dims[0])


def _append_zeros(tensor: TensorProto, missing: int, *, axis: int) -> None:
    value = _value(tensor)
    widths = [(0, missing if index == axis else 0) for index in range(value.ndim)]
    tensor.CopyFrom(numpy_helper.from_array(np.pad(value, widths), tensor.name))


def _value(tensor: TensorProto) -> NDArray[np.generic]:
    value: NDArray[np.generic] = numpy_helper.to_array(tensor)
    return value


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
