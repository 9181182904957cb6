"""The check of quantised graphs, held against what TensorRT itself says."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edge_ad.calibration.qdq import insert_qdq
from edge_ad.errors import BundleError
from edge_ad.export.tensorrt.qdq_check import check_qdq, qdq_problems
from tests.export.graphs import graph

RNG = np.random.default_rng(0)

_SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True}
# Another tool's graphs: keywords of ONNX Runtime, and what is wrong with them.
OUTSIDE: dict[str, tuple[dict[str, Any], str]] = {
    "uint8": ({"activation_type": QuantType.QUInt8}, "is uint8, not int8"),
    "asymmetric": ({"activation_type": QuantType.QInt8}, "has the zero point"),
    "int16": ({"activation_type": QuantType.QInt16, "extra_options": _SYMMETRIC}, "is int16, not int8"),
    "operators": ({"quant_format": QuantFormat.QOperator}, "computes on integers by itself"),
    "bias": ({"extra_options": _SYMMETRIC}, "holds a bias in int32"),
}


class Images(CalibrationDataReader):
    def __init__(self) -> None:
        self._rest = [{"x": RNG.normal(size=(1, 16, 12, 12)).astype(np.float32)} for _ in range(2)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._rest.pop() if self._rest else None


@pytest.fixture
def convolutions() -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["c"], "a", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "b.weight"], ["y"], "b", pads=[1, 1, 1, 1]),
    ]
    constants = {
        "a.weight": RNG.normal(size=(16, 16, 3, 3)).astype(np.float32),
        "a.bias": RNG.normal(size=16).astype(np.float32),
        "b.weight": RNG.normal(size=(16, 16, 3, 3)).astype(np.float32),
    }
    return graph(nodes, {"x": [1, 16, 12, 12]}, {"y": [1, 16, 12, 12]}, constants)


def quantise(model: ModelProto, folder: Path, **keywords: Any) -> ModelProto:
    onnx.save(model, str(folder / "float.onnx"))
    chosen = {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
    quantize_static(folder / "float.onnx", folder / "quantised.onnx", Images(), **{**chosen, **keywords})
    return onnx.load(str(folder / "quantised.onnx"))


def tensorrt_takes(model: ModelProto) -> bool:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    return bool(trt.OnnxParser(network, logger).parse(model.SerializeToString()))


@pytest.mark.parametrize("form", OUTSIDE)
def test_a_form_that_tensorrt_refuses_is_refused_before_with_node_and_reason(
    form: str, convolutions: ModelProto, tmp_path: Path
) -> None:
    keywords, reason = OUTSIDE[form]
    model = quantise(convolutions, tmp_path, **keywords)
    with pytest.raises(BundleError, match=reason) as caught:
        check_qdq(model, "theirs.onnx")
    assert caught.value.message.startswith("theirs.onnx is quantised in a form TensorRT refuses: node '")
    assert "\n" not in caught.value.message
    assert "zero point 0" in caught.value.hint
    assert not tensorrt_takes(model)


def test_the_form_of_other_tools_that_tensorrt_takes_passes(convolutions: ModelProto, tmp_path: Path) -> None:
    options = {**_SYMMETRIC, "QuantizeBias": False}
    model = quantise(convolutions, tmp_path, per_channel=True, extra_options=options)
    check_qdq(model)
    assert tensorrt_takes(model)


def test_our_own_form_and_a_float_graph_pass(convolutions: ModelProto) -> None:
    model = insert_qdq(convolutions, ["a", "b"], {"x": 3.0, "r": 3.0})
    check_qdq(model)
    check_qdq(convolutions)
    assert tensorrt_takes(model)


def test_a_pair_without_a_zero_point_is_uint8_as_onnx_says(convolutions: ModelProto) -> None:
    model = insert_qdq(convolutions, ["a"], {"x": 3.0})
    for node in model.graph.node:
        if node.name.startswith("x/"):
            del node.input[2]
    assert [line.split(" is ")[1] for line in qdq_problems(model)] == ["uint8, not int8"] * 2


def test_weights_without_a_zero_point_are_what_their_levels_are(convolutions: ModelProto) -> None:
    model = insert_qdq(convolutions, ["a"], {"x": 3.0})
    for node in model.graph.node:
        if node.name.startswith("a.weight"):
            del node.input[2]
    assert qdq_problems(model) == []


def test_a_scale_that_is_computed_is_refused(convolutions: ModelProto) -> None:
    model = insert_qdq(convolutions, ["a"], {"x": 3.0})
    quantiser = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    quantiser.input[1] = "computed"
    assert any("scale that is computed" in line for line in qdq_problems(model))


def test_a_graph_that_quantises_by_itself_is_refused() -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["levels", "scale", "zero"], "dynamic"),
        helper.make_node("DequantizeLinear", ["levels", "scale", "zero"], ["y"], "back"),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "dynamic",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        )
    )
    with pytest.raises(BundleError, match=r"'dynamic' .* takes its scale from each input"):
        check_qdq(model)
