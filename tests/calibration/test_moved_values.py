import numpy as np
from onnx import ModelProto, helper

from edge_ad.calibration.graph import consumers, producers
from edge_ad.calibration.qdq import quantise_moved_values
from tests.export.graphs import graph, run

RNG = np.random.default_rng(0)


def skip_connection(mode: str = "nearest", *, other_reader: bool = False) -> ModelProto:
    """relu(x) beside -x, concatenated, upsampled and quantised."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Neg", ["x"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["joined"], "joined", axis=1),
        helper.make_node(
            "Resize", ["joined", "", "scales"], ["large"], "large", mode=mode,
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        ),
        helper.make_node("QuantizeLinear", ["large", "scale", "zero"], ["levels"], "q"),
        helper.make_node("DequantizeLinear", ["levels", "scale", "zero"], ["restored"], "d"),
        helper.make_node("Add", ["restored", "large" if other_reader else "restored"], ["y"]),
    ]  # fmt: skip
    constants = {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "scale": np.array(0.02, np.float32),
        "zero": np.array(0, np.int8),
    }
    return graph(nodes, {"x": [1, 2, 3, 3]}, {"y": [1, 4, 6, 6]}, constants)


def test_values_are_quantised_before_they_are_moved_with_exactly_the_same_result() -> None:
    model = skip_connection()
    x = RNG.normal(size=(1, 2, 3, 3)).astype(np.float32)
    expected = run(model, x)
    quantise_moved_values(model)
    np.testing.assert_array_equal(run(model, x), expected)
    makers = producers(model)
    concat = next(node for node in model.graph.node if node.op_type == "Concat")
    resize = next(node for node in model.graph.node if node.op_type == "Resize")
    assert {makers[name].op_type for name in (*concat.input, resize.input[0])} == {"DequantizeLinear"}
    assert makers["restored"].op_type == "DequantizeLinear"  # the pair after them is still there


def test_a_result_that_something_else_reads_in_float_is_left_alone() -> None:
    model = skip_connection(other_reader=True)
    before = model.SerializeToString()
    quantise_moved_values(model)
    assert model.SerializeToString() == before


def test_linear_upsampling_computes_and_is_left_alone() -> None:
    model = skip_connection("linear")
    quantise_moved_values(model)
    assert [node.op_type for node in consumers(model)["joined"]] == ["Resize"]
