from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edge_ad.calibration.fp16 import convert_to_fp16
from edge_ad.calibration.layers import LARGEST_MAGNITUDE, FloatModules, keep_in_fp32, measure_magnitudes
from edge_ad.calibration.fp16 import round_tensors
from tests.export.graphs import graph, run

RNG = np.random.default_rng(0)
SHAPE = [1, 4, 8, 8]
MODULES = FloatModules(("gaussian", "mask_source", "msgms"))
WEIGHT = (RNG.normal(size=(4, 4, 3, 3)) / 6).astype(np.float32)


def frames(count: int = 2) -> list[NDArray[np.float32]]:
    return [RNG.normal(size=SHAPE).astype(np.float32) for _ in range(count)]


def conv(source: str, target: str, name: str) -> NodeProto:
    return helper.make_node("Conv", [source, f"{name}.weight"], [target], name, pads=[1, 1, 1, 1])


def chain(*middle: NodeProto, **constants: NDArray[np.generic]) -> ModelProto:
    """Two convolutions with nodes in between, which make ``b`` of ``a``, and a square root after them."""
    nodes = [
        conv("x", "a", "first"),
        *middle,
        conv("b", "c", "last"),
        helper.make_node("Abs", ["c"], ["d"], "tail/Abs"),
        helper.make_node("Sqrt", ["d"], ["y"], "tail/Sqrt"),
    ]
    weights = {"first.weight": WEIGHT, "last.weight": WEIGHT[::-1].copy(), **constants}
    return graph(nodes, {"x": [*SHAPE]}, {"y": [*SHAPE]}, weights)


def relu(source: str = "a", target: str = "b") -> NodeProto:
    return helper.make_node("Relu", [source], [target], "relu")


def reasons(model: ModelProto) -> dict[str, str]:
    return keep_in_fp32(model, measure_magnitudes(model, frames()), MODULES)


def types(model: ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    infos = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    return {item.name: item.type.tensor_type.elem_type for item in infos} | {
        tensor.name: tensor.data_type for tensor in model.graph.initializer
    }


def casts(model: ModelProto) -> list[int]:
    return [node.attribute[0].i for node in model.graph.node if node.op_type == "Cast"]


def test_inputs_and_outputs_keep_their_types_and_casts_stand_at_the_two_boundaries_only() -> None:
    model = chain(relu())
    before = model.SerializeToString()
    half = convert_to_fp16(model, reasons(model))
    assert model.SerializeToString() == before
    kinds = types(half)
    assert kinds["x"] == kinds["y"] == TensorProto.FLOAT
    assert kinds["a"] == kinds["b"] == TensorProto.FLOAT16
    assert casts(half) == [TensorProto.FLOAT16, TensorProto.FLOAT]
    weights = [tensor for tensor in half.graph.initializer if "weight" in tensor.name]
    assert [tensor.data_type for tensor in weights] == [TensorProto.FLOAT16] * 2


def test_the_answer_is_close_to_that_of_fp32_and_not_the_same() -> None:
    model = chain(relu())
    half = convert_to_fp16(model, reasons(model))
    x = frames(1)[0]
    error = np.abs(run(half, x) - run(model, x)).max()
    assert 0 < error < 0.02


def test_the_graph_keeps_its_opset_and_has_no_name_twice() -> None:
    half = convert_to_fp16(chain(relu()), {})
    assert [(item.domain, item.version) for item in half.opset_import] == [("", 17)]
    nodes = [node.name for node in half.graph.node]
    tensors = [name for node in half.graph.node for name in node.output]
    tensors += [tensor.name for tensor in half.graph.initializer] + [item.name for item in half.graph.input]
    assert len(nodes) == len(set(nodes))
    assert len(tensors) == len(set(tensors))


def test_a_name_that_is_taken_is_not_used_again() -> None:
    model = chain(
        helper.make_node("Relu", ["a"], ["x.fp16"], "relu"), helper.make_node("Neg", ["x.fp16"], ["b"], "x/to_fp16")
    )
    x = frames(1)[0]
    np.testing.assert_allclose(run(convert_to_fp16(model, reasons(model)), x), run(model, x), atol=0.02)


def test_what_leaves_the_range_of_fp16_stays_in_fp32_until_it_is_back() -> None:
    scale, back = np.array(1e5, np.float32), np.array(1e-4, np.float32)
    model = chain(
        helper.make_node("Div", ["a", "small"], ["large"], "divide"),
        helper.make_node("Neg", ["large"], ["negative"], "negate"),
        helper.make_node("Mul", ["negative", "back"], ["b"], "shrink"),
        small=(1 / scale).astype(np.float32),
        back=back,
    )
    kept = reasons(model)
    assert {"divide", "negate", "shrink"} <= set(kept)
    assert "reaches" in kept["divide"]
    assert "first" not in kept
    assert "last" not in kept
    x = frames(1)[0]
    expected = run(model, x)
    np.testing.assert_allclose(run(convert_to_fp16(model, kept), x), expected, atol=0.02 * expected.max())
    without = {name: reason for name, reason in kept.items() if name not in ("divide", "negate", "shrink")}
    overflowing = convert_to_fp16(model, without)
    assert not np.isfinite(run(round_tensors(overflowing), x)).all()


@pytest.mark.parametrize(("largest", "stays"), [(LARGEST_MAGNITUDE, False), (LARGEST_MAGNITUDE * 1.01, True)])
def test_the_limit_is_a_quarter_of_the_largest_fp16_number(largest: float, stays: bool) -> None:
    kept = keep_in_fp32(chain(relu()), {"b": largest}, MODULES)
    assert ("relu" in kept) is stays


def test_a_tensor_that_was_not_finite_stays_in_fp32() -> None:
    model = chain(relu())
    magnitudes = measure_magnitudes(model, [np.full(SHAPE, np.nan, np.float32)])
    assert {"first", "relu", "last"} <= set(keep_in_fp32(model, magnitudes, MODULES))


def test_a_constant_that_fp16_would_turn_into_0_keeps_its_node_in_fp32() -> None:
    model = chain(helper.make_node("Add", ["a", "eps"], ["b"], "add"), eps=np.array(1e-8, np.float32))
    assert "eps" in reasons(model)["add"]


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Mul", ["a", "a"], ["b"], "square"),
        helper.make_node("Softmax", ["a"], ["b"], "softmax", axis=1),
        helper.make_node("Relu", ["a"], ["b"], "mask_source.distance/Relu"),
        helper.make_node("Relu", ["a"], ["b"], "msgms/Relu"),
        helper.make_node("Conv", ["a", "gaussian.whiten"], ["b"], "gaussian/Conv"),
        helper.make_node("Sub", ["a", "detector.mask_source.limit"], ["b"], "detector/Sub"),
    ],
    ids=lambda node: node.name,
)
def test_squares_curves_and_judges_stay_in_fp32(node: NodeProto) -> None:
    constants = {"gaussian.whiten": np.eye(4, dtype=np.float32)[:, :, None, None]}
    constants["detector.mask_source.limit"] = np.array(1, np.float32)
    kept = reasons(chain(node, **{name: value for name, value in constants.items() if name in node.input}))
    assert node.name in kept
    assert not {"first", "last"}.intersection(kept)


def test_what_prepares_the_input_and_what_makes_the_map_stay_in_fp32() -> None:
    nodes = [
        helper.make_node("Div", ["x", "scale"], ["scaled"], "Div"),
        conv("scaled", "a", "first"),
        helper.make_node("Add", ["a", "scaled"], ["y"], "detector/Add"),
    ]
    model = graph(nodes, {"x": [*SHAPE]}, {"y": [*SHAPE]}, {"scale": np.array(255, np.float32), "first.weight": WEIGHT})
    kept = reasons(model)
    assert set(kept) == {"Div", "detector/Add"}
    assert "input" in kept["Div"]
    assert "map" in kept["detector/Add"]
    half = convert_to_fp16(model, kept)
    add = next(node for node in half.graph.node if node.op_type == "Add")
    assert "scaled" in add.input  # the FP32 form, not one that went through FP16


def test_the_scales_of_a_resize_stay_float32() -> None:
    resize = helper.make_node("Resize", ["a", "", "scales"], ["b"], "resize", mode="nearest")
    model = chain(resize, scales=np.ones(4, np.float32))
    half = convert_to_fp16(model, reasons(model))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in half.graph.initializer}
    found = next(node for node in half.graph.node if node.op_type == "Resize")
    assert values[found.input[2]].dtype == np.float32
    assert types(half)[found.output[0]] == TensorProto.FLOAT16


def test_a_mask_of_a_comparison_becomes_fp16_without_a_second_cast() -> None:
    middle: Sequence[NodeProto] = [
        helper.make_node("Greater", ["a", "limit"], ["above"], "greater"),
        helper.make_node("Cast", ["above"], ["mask"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["a", "mask"], ["b"], "mul"),
    ]
    model = chain(*middle, limit=np.array(0, np.float32))
    kept = reasons(model)
    assert "greater" in kept
    half = convert_to_fp16(model, kept)
    assert types(half)["mask"] == TensorProto.FLOAT16
    assert casts(half).count(TensorProto.FLOAT16) == 2  # of the input, and the mask's own


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid value):RuntimeWarning")
def test_rounding_every_tensor_gives_what_fp16_arithmetic_gives() -> None:
    middle = [
        helper.make_node("Greater", ["a", "limit"], ["above"], "greater"),
        helper.make_node("Cast", ["above"], ["mask"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["a", "mask"], ["b"], "mul"),
    ]
    model = chain(*middle, limit=np.array(0, np.float32))
    half = convert_to_fp16(model, reasons(model))
    before, x = half.SerializeToString(), frames(1)[0]
    rounded = run(round_tensors(half), x)
    assert half.SerializeToString() == before
    expected = ReferenceEvaluator(half).run(None, {"x": x})[0]
    np.testing.assert_allclose(rounded, expected, atol=4e-3)
    assert np.abs(rounded - run(model, x)).max() > 0


def test_an_output_of_an_fp16_node_is_cast_back_under_its_own_name() -> None:
    model = graph([conv("x", "y", "first")], {"x": [*SHAPE]}, {"y": [*SHAPE]}, {"first.weight": WEIGHT})
    half = convert_to_fp16(model, {})
    assert [output.name for output in half.graph.output] == ["y"]
    assert types(half)["y"] == TensorProto.FLOAT


def test_openvino_reads_the_graph_as_onnx_runtime_does() -> None:
    import openvino

    model = chain(relu())
    half = convert_to_fp16(model, reasons(model))
    x = frames(1)[0]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(half.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = ort.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(compiled([x])[0], session.run(None, {"x": x})[0], atol=0.02)
