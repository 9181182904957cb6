"""Two small backbones: an inverted bottleneck with a residual sum and pooling, and a block as of a ResNet."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

SIZE = 24
LAYERS = ["net.expand", "net.project", "net.after"]
LINEAR = ["reduced", "projected", "sum"]
"""Tensors that nothing but convolutions and sums make and read."""
CLIPPED = "hidden"
"""What follows the depthwise convolution, from 0 to 6."""


def bottleneck(seed: int = 0) -> ModelProto:
    """uint8 (1, 24, 24, 3) → float32 (1, 8, 24, 24); channels of ``reduced`` differ in range by up to a hundred."""
    pad = {"pads": [1, 1, 1, 1]}
    nodes = [
        *_photo(),
        helper.make_node("Conv", ["x", "reduce.w", "reduce.b"], ["reduced"], "net.reduce", **pad),
        helper.make_node("Conv", ["reduced", "expand.w", "expand.b"], ["wide"], "net.expand"),
        helper.make_node("Clip", ["wide", "zero", "six"], ["wide.relu"], "net/clip"),
        helper.make_node(
            "Conv", ["wide.relu", "depthwise.w", "depthwise.b"], ["deep"], "net.depthwise", group=16, **pad
        ),
        helper.make_node("Clip", ["deep", "zero", "six"], [CLIPPED], "net/clip2"),
        helper.make_node("Conv", [CLIPPED, "project.w", "project.b"], ["projected"], "net.project"),
        helper.make_node("Add", ["reduced", "projected"], ["sum"], "net/add"),
        helper.make_node("Conv", ["sum", "pool.w"], ["pooled"], "net.pool", group=8, **pad),
        helper.make_node("Conv", ["sum", "after.w", "after.b"], ["later"], "net.after"),
        helper.make_node("Add", ["pooled", "later"], ["features"], "net/last"),
    ]
    return _model(nodes, _weights(seed))


def residual(seed: int = 0) -> ModelProto:
    """A block as of a ResNet, uint8 (1, 24, 24, 3) → float32 (1, 8, 24, 24): ReLU lies between all its layers."""
    rng, pad = np.random.default_rng(seed), {"pads": [1, 1, 1, 1]}
    shapes = {"reduce.w": (16, 3, 3, 3), "wide.w": (16, 16, 3, 3), "narrow.w": (16, 16, 1, 1), "last.w": (8, 16, 1, 1)}
    weights = {name: 2 * rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])) for name, shape in shapes.items()}
    nodes = [
        *_photo(),
        helper.make_node("Conv", ["x", "reduce.w"], ["reduced"], "net.reduce", **pad),
        helper.make_node("Relu", ["reduced"], ["first"], "net/relu"),
        helper.make_node("Conv", ["first", "wide.w"], ["widened"], "net.wide", **pad),
        helper.make_node("Relu", ["widened"], ["second"], "net/relu2"),
        helper.make_node("Conv", ["second", "narrow.w"], ["narrowed"], "net.narrow"),
        helper.make_node("Add", ["first", "narrowed"], ["sum"], "net/add"),
        helper.make_node("Relu", ["sum"], ["third"], "net/relu3"),
        helper.make_node("Conv", ["third", "last.w"], ["features"], "net.last"),
    ]
    return _model(nodes, {"white": np.array(255.0), **weights})


def photos(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coarse noise, uint8 (count, 24, 24, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, SIZE // 4, SIZE // 4, 3), np.uint8)
    return coarse.repeat(4, 1).repeat(4, 2)


def _weights(seed: int) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    spread = np.logspace(0, 2, 8)[:, None, None, None]

    def normal(*shape: int) -> NDArray[np.float64]:
        return rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))

    return {
        "white": np.array(255.0),
        "zero": np.array(0.0),
        "six": np.array(6.0),
        "reduce.w": normal(8, 3, 3, 3) * spread,
        "reduce.b": rng.normal(size=8),
        "expand.w": 3 * normal(16, 8, 1, 1) / spread.reshape(1, 8, 1, 1),
        "expand.b": rng.normal(size=16),
        "depthwise.w": 3 * normal(16, 1, 3, 3),
        "depthwise.b": 1 + rng.normal(size=16),
        "project.w": normal(8, 16, 1, 1) * spread,
        "project.b": rng.normal(size=8),
        "pool.w": np.full((8, 1, 3, 3), 1 / 9) / spread,
        "after.w": normal(8, 8, 1, 1) / spread.reshape(1, 8, 1, 1),
        "after.b": rng.normal(size=8),
    }


def _photo() -> list[NodeProto]:
    return [
        helper.make_node("Cast", ["image"], ["float"], "prepare/cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], "prepare/transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["planes", "white"], ["x"], "prepare/scale"),
    ]


def _model(nodes: list[NodeProto], constants: Mapping[str, NDArray[np.float64]]) -> ModelProto:
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIZE, SIZE, 3])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 8, SIZE, SIZE])
    graph = helper.make_graph(nodes, "backbone", [image], [features], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model
