"""A small detector graph with one layer whose quantisation wrecks the anomaly map.

A defect is red that differs from the ground by a few levels. The hostile layer is a convolution over two channels: one
carries brightness times a thousand, the other the small difference that the map is made of. One scale for both rounds
the difference away. The layers before and after it, and a branch beside it, do not mind INT8.
"""

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

HOSTILE = "net.mix"
LAYERS = ["net.split", HOSTILE, "net.expand", "net.join"]
SIZE = 48
GROUND = 100.0
EDGE = 2  # bright columns on the left of every part


def hostile_model() -> ModelProto:
    """Deploy graph, uint8 (N, 48, 48, 3) → map = |red - 100| / 255, smoothed, and its maximum inside."""
    conv = [
        helper.make_node("Cast", ["image"], ["float"], "prepare/cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], "prepare/transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["planes", "white"], ["x"], "prepare/scale"),
        helper.make_node("Conv", ["x", "split.w", "split.b"], ["two"], "net.split"),
        helper.make_node("Conv", ["two", "mix.w"], ["difference"], HOSTILE),
        helper.make_node("Abs", ["difference"], ["distance"], "net/abs"),
        helper.make_node("Conv", ["distance", "expand.w"], ["wide"], "net.expand", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["wide"], ["wide.relu"], "net/relu"),
        helper.make_node("Conv", ["wide.relu", "join.w"], ["map"], "net.join"),
        helper.make_node("Squeeze", ["map", "channel"], ["anomaly_map"], "out/squeeze"),
        helper.make_node("Slice", ["map", "inside", "end", "column"], ["inner"], "out/slice"),
        helper.make_node("ReduceMax", ["inner"], ["score"], "out/max", axes=[1, 2, 3], keepdims=0),
    ]
    constants = {
        "white": np.array(255.0, np.float32),
        # Channel 0: brightness times 1000. Channel 1: red minus the ground, a few hundredths.
        "split.w": np.array([[1000, 1000, 1000], [0, 0, 1]], np.float32).reshape(2, 3, 1, 1),
        "split.b": np.array([0, -GROUND / 255], np.float32),
        "mix.w": np.array([[0, 1]], np.float32).reshape(1, 2, 1, 1),
        "expand.w": np.full((4, 1, 3, 3), 1 / 9, np.float32),
        "join.w": np.full((1, 4, 1, 1), 0.25, np.float32),
        "channel": np.array([1], np.int64),
        "inside": np.array([EDGE + 1], np.int64),
        "end": np.array([SIZE], np.int64),
        "column": np.array([3], np.int64),
    }
    graph = helper.make_graph(
        conv,
        "hostile",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["N", SIZE, SIZE]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


def good_images(count: int) -> np.ndarray:
    """Photos of good parts: the ground with a little noise and an edge, uint8 (count, 48, 48, 3).

    The edge, brighter by 40 levels, gives the ranges room above the noise, so that what is inspected is not cut off.
    """
    rng = np.random.default_rng(0)
    images = rng.normal(GROUND, 3, (count, SIZE, SIZE, 3))
    images[:, :, :EDGE] += 40
    return np.clip(images, 0, 255).astype(np.uint8)
