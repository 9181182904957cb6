"""Multiply-accumulates of the convolutions of a graph."""

from __future__ import annotations

import math

from onnx import ModelProto

from edge_ad.calibration.graph import constants, infer_shapes, producers

__all__ = ["convolution_macs"]

_MOVES = ("DequantizeLinear", "QuantizeLinear", "Cast", "Identity")


def convolution_macs(model: ModelProto) -> dict[str, int]:
    """Name of each ``Conv`` → multiply-accumulates for one image.

    One output element takes one product per input channel of its group and per element of the kernel.

    Args:
        model: Graph with only the batch dynamic; it is left as it is. A node without a name is given the one that
            TensorRT's parser gives it.
    """
    shapes = infer_shapes(ModelProto.FromString(model.SerializeToString()))
    sources, values = producers(model), constants(model)

    def weight_shape(name: str) -> tuple[int, ...]:
        while name not in values and name in sources and sources[name].op_type in _MOVES:
            name = sources[name].input[0]
        return tuple(values[name].dims) if name in values else tuple(_sizes(shapes.get(name, ())))

    return {
        node.name or f"node_of_{node.output[0]}": math.prod(_sizes(shapes[node.output[0]]))
        * math.prod(weight_shape(node.input[1])[1:])
        for node in model.graph.node
        if node.op_type == "Conv"
    }


def _sizes(shape: tuple[int | str, ...]) -> list[int]:
    return [size if isinstance(size, int) else 1 for size in shape]  # the batch: one image
