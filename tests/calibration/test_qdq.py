import numpy as np
import openvino
from onnx import ModelProto, helper, numpy_helper

from edge_ad.calibration.qdq import insert_qdq, quantise_weight
from tests.export.graphs import graph, run

RNG = np.random.default_rng(0)


def two_convolutions() -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["c"], "a", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "b.weight"], ["y"], "b", pads=[1, 1, 1, 1]),
    ]
    spread = np.logspace(-2, 1, 16)[:, None, None, None]  # channels of very different size
    constants = {
        "a.weight": (RNG.normal(size=(16, 16, 3, 3)) * spread).astype(np.float32),
        "a.bias": RNG.normal(size=16).astype(np.float32),
        "b.weight": RNG.normal(size=(16, 16, 3, 3)).astype(np.float32),
    }
    return graph(nodes, {"x": [1, 16, 12, 12]}, {"y": [1, 16, 12, 12]}, constants)


def test_weights_are_symmetric_and_scaled_per_channel() -> None:
    weight = np.array([[[[1.0]], [[-0.5]]], [[[100.0]], [[0.0]]]], np.float32)
    levels, scales = quantise_weight(weight, 0)
    assert levels.dtype == np.int8
    np.testing.assert_array_equal(levels.ravel(), [127, -64, 127, 0])
    np.testing.assert_allclose(scales, [1 / 127, 100 / 127])


def test_a_channel_of_zeros_stays_zero() -> None:
    levels, scales = quantise_weight(np.zeros((2, 1, 1, 1), np.float32), 0)
    assert not levels.any()
    assert (scales > 0).all()


def test_the_quantised_graph_is_close_and_its_float_original_untouched() -> None:
    model = two_convolutions()
    before = model.SerializeToString()
    x = RNG.normal(size=(1, 16, 12, 12)).astype(np.float32)
    expected = run(model, x)
    hidden = float(np.abs(run(_until(model, "r"), x)).max())
    quantised = insert_qdq(model, ["a", "b"], {"x": float(np.abs(x).max()), "r": hidden})
    assert model.SerializeToString() == before
    error = np.square(run(quantised, x) - expected).mean() / expected.var()
    assert 0 < error < 1e-3


def test_the_form_is_the_one_every_backend_takes() -> None:
    quantised = insert_qdq(two_convolutions(), ["a", "b"], {"x": 3.0, "r": 3.0})
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantised.graph.initializer}
    for node in quantised.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = values[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
    convolutions = [node for node in quantised.graph.node if node.op_type == "Conv"]
    produced = {name: node.op_type for node in quantised.graph.node for name in node.output}
    assert all(produced[name] == "DequantizeLinear" for node in convolutions for name in node.input[:2])
    assert convolutions[0].input[2] == "a.bias"
    assert values["a.bias"].dtype == np.float32
    read = {name for node in quantised.graph.node if node.op_type == "QuantizeLinear" for name in node.input}
    assert "c" not in read  # a convolution's own output is not quantised: the next layer quantises its input


def test_layers_that_are_not_named_stay_in_float() -> None:
    quantised = insert_qdq(two_convolutions(), ["b"], {"r": 3.0})
    first = next(node for node in quantised.graph.node if node.name == "a")
    assert list(first.input) == ["x", "a.weight", "a.bias"]


def test_openvino_runs_the_layers_in_int8() -> None:
    quantised = insert_qdq(two_convolutions(), ["a", "b"], {"x": 3.0, "r": 30.0})
    core = openvino.Core()
    model = core.read_model(quantised.SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    types = {
        node.get_friendly_name(): node.get_rt_info()["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"].astype(str) == "Convolution"
    }
    assert len(types) == 2
    assert set(types.values()) <= {"i8", "u8"}, types


def _until(model: ModelProto, tensor: str) -> ModelProto:
    part = ModelProto.FromString(model.SerializeToString())
    part.graph.output[0].name = tensor
    del part.graph.node[-1]
    return part
