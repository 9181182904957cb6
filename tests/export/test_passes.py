import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper, numpy_helper

from edge_ad.calibration.graph import attribute, infer_shapes
from edge_ad.errors import EdgeAdError
from edge_ad.export.passes import (
    OPSET,
    fold_linear_maps,
    lower_opset,
    make_batch_dynamic,
    maps_by_matrix_product,
    name_layers,
    resize_by_scale,
    sigmoid_beside_convolution,
    square_by_product,
)
from tests.export.graphs import graph, run

RNG = np.random.default_rng(0)


def values(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_reductions_of_opset_18_become_those_of_17_with_the_same_result() -> None:
    node = helper.make_node("ReduceMax", ["x", "axes"], ["y"], keepdims=0, noop_with_empty_axes=0)
    model = graph([node], {"x": [2, 3, 4]}, {"y": [2, 4]}, {"axes": np.array([1], np.int64)}, opset=18)
    x = values(2, 3, 4)
    expected = run(model, x)
    lower_opset(model)
    assert model.opset_import[0].version == OPSET == 17
    np.testing.assert_array_equal(run(model, x), expected)


def test_an_operator_newer_than_the_opset_is_refused_by_name() -> None:
    model = graph([helper.make_node("Mish", ["x"], ["y"], "act")], {"x": [1]}, {"y": [1]}, {}, opset=18)
    with pytest.raises(EdgeAdError, match=r"Mish \(act\)"):
        lower_opset(model)


def test_a_traced_batch_becomes_dynamic_through_reshape_expand_and_repeated_constants() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["rows"], allowzero=1),
        helper.make_node("Transpose", ["rows"], ["swapped"], perm=[1, 0]),
        helper.make_node("Reshape", ["swapped", "grid"], ["image"], allowzero=1),
        helper.make_node("Expand", ["single", "batch"], ["expanded"]),
        helper.make_node("Mul", ["image", "expanded"], ["scaled"]),
        helper.make_node("Add", ["scaled", "repeated"], ["y"]),
    ]
    constants = {
        "flat": np.array([4, 13], np.int64),
        "grid": np.array([13, 1, 2, 2], np.int64),
        "single": values(1, 1, 2, 2),
        "batch": np.array([13, 1, 2, 2], np.int64),
        "repeated": np.repeat(values(1, 1, 2, 2), 13, axis=0),
    }
    model = graph(nodes, {"x": [13, 4]}, {"y": [13, 1, 2, 2]}, constants)
    # Reshape to (4, 13) mixes images: only the shapes matter here.
    make_batch_dynamic(model, 13)
    assert infer_shapes(model)["y"] == ("N", 1, 2, 2)
    assert run(model, values(2, 4)).shape == (2, 1, 2, 2)


def test_a_batch_that_cannot_be_generalised_is_an_error() -> None:
    node = helper.make_node("Add", ["x", "per_image"], ["y"])
    model = graph([node], {"x": [13, 2]}, {"y": [13, 2]}, {"per_image": values(13, 2)})
    with pytest.raises((EdgeAdError, onnx.shape_inference.InferenceError)):
        make_batch_dynamic(model, 13)


def test_a_resize_to_a_size_becomes_one_by_a_scale() -> None:
    node = helper.make_node(
        "Resize", ["x", "", "", "size"], ["y"], mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )  # fmt: skip
    model = graph([node], {"x": [13, 2, 3, 4]}, {"y": [13, 2, 6, 12]}, {"size": np.array([13, 2, 6, 12], np.int64)})
    x = values(13, 2, 3, 4)
    expected = run(model, x)
    resize_by_scale(model)
    make_batch_dynamic(model, 13)
    np.testing.assert_array_equal(run(model, x[:5]), expected[:5])


def test_a_square_becomes_a_product() -> None:
    constants = {"two": np.array(2, np.float32), "three": np.array(3, np.float32)}
    nodes = [helper.make_node("Pow", ["x", "two"], ["s"]), helper.make_node("Pow", ["s", "three"], ["y"])]
    model = graph(nodes, {"x": [5]}, {"y": [5]}, constants)
    square_by_product(model)
    assert [node.op_type for node in model.graph.node] == ["Mul", "Pow"]
    x = values(5)
    np.testing.assert_allclose(run(model, x), x**6, rtol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (5, 20), (2, 3)])
def test_linear_interpolation_of_a_map_is_a_matrix_product(size: tuple[int, int]) -> None:
    node = helper.make_node(
        "Resize", ["x", "", "scales"], ["y"], "up", mode="linear", coordinate_transformation_mode="pytorch_half_pixel"
    )
    scales = np.array([1, 1, size[0] / 4, size[1] / 5], np.float32)
    model = graph([node], {"x": [2, 1, 4, 5]}, {"y": [2, 1, *size]}, {"scales": scales})
    x = values(2, 1, 4, 5)
    expected = run(model, x)
    maps_by_matrix_product(model)
    assert {node.op_type for node in model.graph.node} == {"MatMul"}
    np.testing.assert_allclose(run(model, x), expected, atol=1e-6)


@pytest.mark.parametrize("kernel", [(7, 1), (1, 5), (3, 3)])
def test_a_mean_filter_of_a_map_is_a_matrix_product(kernel: tuple[int, int]) -> None:
    pads = [kernel[0] // 2, kernel[1] // 2] * 2
    node = helper.make_node("AveragePool", ["x"], ["y"], "mean", kernel_shape=kernel, pads=pads)
    model = graph([node], {"x": [2, 1, 9, 8]}, {"y": [2, 1, 9, 8]}, {})
    x = values(2, 1, 9, 8)
    expected = run(model, x)
    maps_by_matrix_product(model)
    assert {node.op_type for node in model.graph.node} == {"MatMul"}
    np.testing.assert_allclose(run(model, x), expected, atol=1e-6)


def test_maps_of_several_channels_are_left_as_they_are() -> None:
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    model = graph([node], {"x": [1, 2, 6, 6]}, {"y": [1, 2, 6, 6]}, {})
    maps_by_matrix_product(model)
    assert [node.op_type for node in model.graph.node] == ["AveragePool"]


def _smoothing(taps: int) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    half, kernel = taps // 2, np.abs(values(taps)) + 0.1
    nodes = [
        helper.make_node("Pad", ["big", "pads"], ["padded"], "smoothing/Pad", mode="edge"),
        helper.make_node("Conv", ["padded", "across"], ["smooth"], "smoothing/Conv"),
        helper.make_node("Conv", ["smooth", "down"], ["y"], "smoothing/Conv_2"),
    ]
    constants = {
        "pads": np.array([0, 0, half, half, 0, 0, half, half], np.int64),
        "across": kernel.reshape(1, 1, 1, taps),
        "down": kernel.reshape(1, 1, taps, 1),
    }
    return nodes, constants


def test_an_interpolation_and_the_smoothing_behind_it_become_one_product() -> None:
    resize = helper.make_node("Resize", ["x", "", "scales"], ["big"], "detector/up", mode="linear")
    smoothing, constants = _smoothing(5)
    scales = np.array([1, 1, 4, 4], np.float32)
    model = graph([resize, *smoothing], {"x": [2, 1, 5, 4]}, {"y": [2, 1, 20, 16]}, {"scales": scales, **constants})
    x = values(2, 1, 5, 4)
    expected = run(model, x)
    maps_by_matrix_product(model)
    fold_linear_maps(model)
    assert [node.name for node in model.graph.node] == ["detector/up/folded/columns", "detector/up/folded/rows"]
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-5, atol=1e-6)


def test_smoothing_alone_stays_a_short_filter() -> None:
    smoothing, constants = _smoothing(5)
    model = graph(smoothing, {"big": [2, 1, 20, 16]}, {"y": [2, 1, 20, 16]}, constants)
    fold_linear_maps(model)
    assert [node.op_type for node in model.graph.node] == ["Pad", "Conv", "Conv"]


def test_a_map_that_another_node_reads_stays() -> None:
    resize = helper.make_node("Resize", ["x", "", "scales"], ["big"], "detector/up", mode="linear")
    smoothing, constants = _smoothing(5)
    reader = helper.make_node("ReduceMax", ["big"], ["peak"], keepdims=0)
    shapes: dict[str, list[int | str]] = {"y": [2, 1, 20, 16], "peak": []}
    scales = np.array([1, 1, 4, 4], np.float32)
    model = graph([resize, *smoothing, reader], {"x": [2, 1, 5, 4]}, shapes, {"scales": scales, **constants})
    maps_by_matrix_product(model)
    before = len(model.graph.node)
    fold_linear_maps(model)
    assert len(model.graph.node) == before


def test_layers_are_named_after_their_modules_and_tell_nothing_of_the_machine() -> None:
    conv = helper.make_node("Conv", ["x", "detector.unet.head.weight"], ["c"], "node_1", doc_string="File model.py")
    roots = [helper.make_node("Sqrt", ["c"], ["r"], "node_2"), helper.make_node("Sqrt", ["r"], ["y"], "node_3")]
    for node in roots:
        entry = node.metadata_props.add()
        entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'detector', 'detector.msgms', 'sqrt']"
    weight = {"detector.unet.head.weight": values(1, 1, 1, 1)}
    model = graph([conv, *roots], {"x": [1, 1, 2, 2]}, {"y": [1, 1, 2, 2]}, weight)
    name_layers(model)
    assert [node.name for node in model.graph.node] == ["unet.head", "msgms/Sqrt", "msgms/Sqrt_2"]
    assert b"model.py" not in model.SerializeToString()
    assert b"name_scopes" not in model.SerializeToString()


def test_attributes_can_be_read_with_a_default() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=3)
    assert attribute(node, "group", 1) == 3
    assert attribute(node, "strides", [1, 1]) == [1, 1]
    assert numpy_helper.from_array(values(1)).dims == [1]


@pytest.mark.parametrize(("channels", "is_rewritten"), [(3, True), (16, False)])
def test_the_sigmoid_of_few_channels_is_computed_after_its_convolution(channels: int, is_rewritten: bool) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["z"], "head", kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["z"], ["y"], "act"),
    ]
    weight = {"w": np.full((channels, 2, 1, 1), 40, np.float32)}
    model = graph(nodes, {"x": [1, 2, 4, 4]}, {"y": [1, channels, 4, 4]}, weight)
    x = values(1, 2, 4, 4)  # times 40: deep in both tails
    expected = run(model, x)
    sigmoid_beside_convolution(model)
    assert ("Sigmoid" not in {node.op_type for node in model.graph.node}) == is_rewritten
    np.testing.assert_allclose(run(model, x), expected, atol=1e-6)
