"""The smallest deploy graph: how blue a frame is, at each pixel and at most."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE_HW = (32, 32)


def blue_graph() -> bytes:
    """uint8 BGR (N, 32, 32, 3) → score (N,), anomaly map (N, 32, 32)."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["pixels", "blue"], ["channel"], axis=3),
        helper.make_node("Mul", ["channel", "scale"], ["anomaly_map"]),
        helper.make_node("ReduceMax", ["anomaly_map"], ["score"], axes=[1, 2], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(np.array(0, np.int64), "blue"),
        numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"),
    ]
    graph = helper.make_graph(
        nodes,
        "blue",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *SIZE_HW, 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["N", *SIZE_HW]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
