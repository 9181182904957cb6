"""A product by position becomes a convolution with groups, and the result stays the same."""

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edge_ad.calibration.graph import attribute
from edge_ad.export.passes import positions_as_groups
from tests.export.graphs import graph, run

RNG = np.random.default_rng(0)
POSITIONS, CHANNELS, RANK = 6, 5, 3


def directions(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def products(*, second_reader: bool = False) -> ModelProto:
    """What a position's directions take from vectors (N, P, C), and give back."""
    constants: dict[str, NDArray[np.generic]] = {
        "taken": directions(POSITIONS, CHANNELS, RANK),
        "given": directions(POSITIONS, RANK, CHANNELS),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["first"], "Transpose", perm=[1, 0, 2]),
        helper.make_node("MatMul", ["first", "taken"], ["along"], "head/MatMul"),
        helper.make_node("MatMul", ["along", "given"], ["explained"], "head/MatMul_2"),
        helper.make_node("Transpose", ["explained"], ["y"], "Transpose_2", perm=[1, 0, 2]),
    ]
    outputs: dict[str, list[int | str]] = {"y": ["batch", POSITIONS, CHANNELS]}
    if second_reader:
        nodes.append(helper.make_node("Neg", ["given"], ["other"], "other"))
        outputs["other"] = [POSITIONS, RANK, CHANNELS]
    return graph(nodes, {"x": ["batch", POSITIONS, CHANNELS]}, outputs, constants)


@pytest.mark.parametrize("images", [1, 4])
def test_convolutions_with_groups_give_the_same(images: int) -> None:
    model, vectors = products(), directions(images, POSITIONS, CHANNELS)
    expected = run(model, vectors)
    assert positions_as_groups(model) == ["head/MatMul", "head/MatMul_2"]
    made = {node.name: node for node in model.graph.node}
    for name in ("head/MatMul", "head/MatMul_2"):
        assert (made[name].op_type, attribute(made[name], "group")) == ("Conv", POSITIONS)
    assert len(made) == len(model.graph.node)  # an engine knows layers by their names
    assert not any(tensor.name in ("taken", "given") for tensor in model.graph.initializer)
    np.testing.assert_allclose(run(model, vectors), expected, rtol=1e-5, atol=1e-6)
    assert positions_as_groups(model) == []


def test_a_constant_with_a_second_reader_is_left() -> None:
    model, vectors = products(second_reader=True), directions(2, POSITIONS, CHANNELS)
    expected = run(model, vectors)
    assert positions_as_groups(model) == ["head/MatMul"]
    np.testing.assert_allclose(run(model, vectors), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("vectors", "matrices", "result"),
    [
        ([2, 5], (5, 3), [2, 3]),  # one matrix for all
        ([2, 5], (6, 5, 3), [6, 2, 3]),  # the same vectors for all matrices
        ([1, 2, 5], (6, 5, 3), [6, 2, 3]),
        ([6, 2, 5], (1, 5, 3), [6, 2, 3]),
        ([4, 6, 2, 5], (6, 5, 3), [4, 6, 2, 3]),
    ],
)
def test_another_product_is_left_as_it_is(vectors: list[int], matrices: tuple[int, ...], result: list[int]) -> None:
    product = helper.make_node("MatMul", ["x", "w"], ["y"], "MatMul")
    model = graph([product], {"x": [*vectors]}, {"y": [*result]}, {"w": directions(*matrices)})
    before = [node.SerializeToString() for node in model.graph.node]
    assert positions_as_groups(model) == []
    assert [node.SerializeToString() for node in model.graph.node] == before


def test_a_constant_in_another_type_is_left() -> None:
    product = helper.make_node("MatMul", ["x", "w"], ["y"], "MatMul")
    model = graph([product], {"x": [6, 1, 5]}, {"y": [6, 1, 3]}, {"w": directions(6, 5, 3)})
    for item in (*model.graph.input, *model.graph.output):
        item.type.tensor_type.elem_type = TensorProto.DOUBLE
    weights = directions(6, 5, 3).astype(np.float64)
    model.graph.initializer[0].CopyFrom(helper.make_tensor("w", TensorProto.DOUBLE, weights.shape, weights.ravel()))
    assert positions_as_groups(model) == []
