"""Arithmetic that means the same and runs faster."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edge_ad.calibration.graph import add_constant, constants, infer_shapes, producers, replace_nodes

__all__ = ["sigmoid_beside_convolution", "square_by_product"]

_VECTOR_LANES = 8  # a convolution of fewer channels leaves lanes of the narrowest vector unit idle


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
