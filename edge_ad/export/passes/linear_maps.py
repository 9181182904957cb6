"""Chains of linear steps on a single-channel map, folded into one product: ``Y = A X Bᵀ``.

A small score map that is brought to image size and smoothed there passes three steps of full size. All are linear and
separable, so their matrices multiply to one pair, and what is left costs no more than the interpolation did.
"""

from __future__ import annotations

from typing import Any
import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper
from edge_ad.calibration.graph import add_constant, constants, infer_shapes, producers, replace_nodes
from typing import NamedTuple, cast
from numpy.typing import NDArray
from edge_ad.calibration.graph import add_constant, attribute, constants, consumers, infer_shapes, replace_nodes

__all__ = ['fold_linear_maps', 'sigmoid_beside_convolution', 'square_by_product']

_VECTOR_LANES = 8  # a convolution of fewer channels leaves lanes of the narrowest vector unit idle
Matrix = NDArray[np.float64]
_FEWEST = 3  # columns and rows of an interpolation, and something behind them


def square_by_product(model: ModelProto) -> None:
    """``Pow(x, 2)`` → ``Mul(x, x)``: a power is computed by exponential and logarithm, which FP16 cannot afford."""
    values = constants(model)
    for node in model.graph.node:
        if node.op_type == "Pow" and node.input[1] in values:
            exponent = numpy_helper.to_array(values[node.input[1]])
            if exponent.size == 1 and np.all(exponent == 2):
                node.op_type = "Mul"
                node.input[1] = node.input[0]


def sigmoid_beside_convolution(model: ModelProto) -> None:
    """The sigmoid of a convolution of few channels as ``exp(min(x, 0)) / (1 + exp(-|x|))``.

    An engine runs a Sigmoid inside the convolution, once per vector of channels: with three of them, most of every
    vector is empty and the sigmoid takes longer than the convolution. This form, exact and free of overflow, uses the
    convolution's result twice and so is run after it, over full vectors.
    """
    shapes, sources = infer_shapes(model), producers(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        source = sources.get(node.input[0]) if node.op_type == "Sigmoid" else None
        few = source is not None and source.op_type == "Conv" and int(shapes[node.input[0]][1]) < _VECTOR_LANES
        nodes.extend(_sigmoid(model, node) if few else [node])
    replace_nodes(model, nodes)


def _sigmoid(model: ModelProto, node: NodeProto) -> list[NodeProto]:
    x, y = node.input[0], node.output[0]
    zero, one = (
        add_constant(model, f"{y}.{name}", np.array(value, np.float32)) for name, value in (("zero", 0), ("one", 1))
    )

    def step(kind: str, inputs: list[str], name: str, output: str | None = None) -> Any:
        return helper.make_node(kind, inputs, [output or f"{y}.{name}"], f"{node.name}/{name}")

    return [
        step("Min", [x, zero], "negative_part"),
        step("Exp", [f"{y}.negative_part"], "numerator"),
        step("Abs", [x], "magnitude"),
        step("Neg", [f"{y}.magnitude"], "exponent"),
        step("Exp", [f"{y}.exponent"], "decay"),
        step("Add", [f"{y}.decay", one], "denominator"),
        step("Div", [f"{y}.numerator", f"{y}.denominator"], "quotient", y),
    ]


class _Step(NamedTuple):
    """One node as ``Y = A X Bᵀ``; None for an axis that stays."""

    node: NodeProto
    source: str
    rows: Matrix | None
    columns: Matrix | None


def fold_linear_maps(model: ModelProto) -> None:
    """Fold chains of MatMul by a constant, replicating Pad, and one-dimensional Conv of maps (N, 1, h, w).

    Only chains that end larger than they begin: elsewhere a short filter costs less than a product of full size.
    """
    for chain in _chains(model):
        _replace(model, chain)


def _chains(model: ModelProto) -> list[list[_Step]]:
    shapes, readers = infer_shapes(model), consumers(model)
    kept = {output.name for output in model.graph.output}
    weights = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items()}
    steps = {step.source: step for node in model.graph.node if (step := _step(node, weights, shapes)) is not None}
    made = {step.node.output[0] for step in steps.values()}
    chains = []
    for first in (step for step in steps.values() if step.source not in made or len(readers[step.source]) > 1):
        chain = [first]
        while (end := chain[-1].node.output[0]) in steps and len(readers[end]) == 1 and end not in kept:
            chain.append(steps[end])
        if len(chain) >= _FEWEST and _size(shapes, chain[0].source) < _size(shapes, end):
            chains.append(chain)
    return chains


def _size(shapes: dict[str, tuple[int | str, ...]], tensor: str) -> int:
    return int(shapes[tensor][2]) * int(shapes[tensor][3])


def _step(
    node: NodeProto, weights: dict[str, NDArray[np.generic]], shapes: dict[str, tuple[int | str, ...]]
) -> _Step | None:
    source = node.input[1] if node.op_type == "MatMul" and node.input[0] in weights else next(iter(node.input), "")
    shape = shapes.get(source, ())
    if len(shape) != 4 or shape[1] != 1:
        return None
    height, width = int(shape[2]), int(shape[3])
    if node.op_type == "MatMul":
        return _product(node, source, weights)
    if node.op_type == "Pad" and attribute(node, "mode", b"constant") == b"edge" and node.input[1] in weights:
        top, left, bottom, right = (int(weights[node.input[1]][axis]) for axis in (2, 3, 6, 7))
        return _Step(node, source, _replicated(height, top, bottom), _replicated(width, left, right))
    if node.op_type == "Conv" and node.input[1] in weights:
        return _filter(node, source, weights[node.input[1]], (height, width))
    return None


def _product(node: NodeProto, source: str, weights: dict[str, NDArray[np.generic]]) -> _Step | None:
    other = node.input[1] if source == node.input[0] else node.input[0]
    if other not in weights or weights[other].ndim != 2:
        return None
    matrix = np.asarray(weights[other], np.float64)
    return _Step(node, source, None, matrix.T) if source == node.input[0] else _Step(node, source, matrix, None)


def _filter(node: NodeProto, source: str, weight: NDArray[np.generic], size_hw: tuple[int, int]) -> _Step | None:
    """A convolution of one map along one axis, without bias, stride, dilation or zeros beyond the border."""
    ones, padding = [1, 1], cast("list[int]", attribute(node, "pads", [0] * 4))
    plain = attribute(node, "strides", ones) == ones and attribute(node, "dilations", ones) == ones
    if weight.shape[:2] != (1, 1) or 1 not in weight.shape[2:] or any(padding) or len(node.input) > 2 or not plain:
        return None
    kernel = np.asarray(weight, np.float64).ravel()
    if weight.shape[3] == 1:
        return _Step(node, source, _band(size_hw[0], kernel), None)
    return _Step(node, source, None, _band(size_hw[1], kernel))


def _replicated(size: int, before: int, after: int) -> Matrix:
    """(size + before + after, size): the first and the last value again, outside."""
    return np.eye(size)[np.clip(np.arange(-before, size + after), 0, size - 1)]


def _band(size: int, kernel: Matrix) -> Matrix:
    """(size − k + 1, size): correlation with a kernel of k values where it fits."""
    band = np.zeros((size - len(kernel) + 1, size))
    for offset, value in enumerate(kernel):
        band[np.arange(len(band)), np.arange(len(band)) + offset] = value
    return band


def _replace(model: ModelProto, chain: list[_Step]) -> None:
    rows = _multiplied([step.rows for step in chain if step.rows is not None])
    columns = _multiplied([step.columns for step in chain if step.columns is not None])
    first, last = chain[0].node, chain[-1].node
    target, nodes, source = last.output[0], [], chain[0].source
    name = first.name.rpartition("/")[0] or first.name
    if columns is not None:
        matrix = add_constant(model, f"{target}.columns", np.ascontiguousarray(columns.T, np.float32))
        across = target if rows is None else f"{target}.across"
        nodes.append(helper.make_node("MatMul", [source, matrix], [across], f"{name}/folded/columns"))
        source = across
    if rows is not None:
        matrix = add_constant(model, f"{target}.rows", np.ascontiguousarray(rows, np.float32))
        nodes.append(helper.make_node("MatMul", [matrix, source], [target], f"{name}/folded/rows"))
    removed = {step.node.output[0] for step in chain}
    replaced: list[NodeProto] = []
    for node in model.graph.node:
        if node.output[0] == target:
            replaced.extend(nodes)
        elif node.output[0] not in removed:
            replaced.append(node)
    replace_nodes(model, replaced)


def _multiplied(matrices: list[Matrix]) -> Matrix | None:
    """The product, the last on the left."""
    return None if not matrices else np.linalg.multi_dot([*matrices[::-1], np.eye(matrices[0].shape[1])])
