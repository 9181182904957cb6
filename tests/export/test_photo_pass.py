"""The photo's layout is changed late, and the result stays the same."""

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, checker, helper
from onnx.numpy_helper import to_array

from edge_ad.export.passes import transpose_late
from tests.export.graphs import graph

RNG = np.random.default_rng(0)
PHOTOS = RNG.integers(0, 256, (2, 8, 10, 3), dtype=np.uint8)


def preamble(
    *, order: tuple[int, int, int] = (2, 1, 0), per_channel: bool = False, second_reader: bool = False
) -> ModelProto:
    """A photo brought to a convolution as deploy graphs do it: cast, transposed, reversed, normalised."""
    mean = RNG.normal(100, 5, (1, 3, 1, 1)) if per_channel else np.array(127.0)
    weights: dict[str, NDArray[np.generic]] = {
        "w": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "white": np.array(255, np.float32),
        "mean": mean.astype(np.float32),
        "width": np.array(128, np.float32),
        **{f"at{index}": np.array([index]) for index in range(4)},
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], "Cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["turned"], "Transpose", perm=[0, 3, 1, 2]),
        *(
            helper.make_node("Slice", ["turned", f"at{index}", f"at{index + 1}", "at1"], [f"c{index}"], f"Slice{index}")
            for index in range(3)
        ),
        helper.make_node("Concat", [f"c{index}" for index in order], ["rgb"], "Concat", axis=1),
        helper.make_node("Div", ["rgb", "white"], ["unit"], "Div"),
        helper.make_node("Mul", ["unit", "white"], ["grey"], "net/Mul"),
        helper.make_node("Sub", ["grey", "mean"], ["centred"], "net/Sub"),
        helper.make_node("Div", ["centred", "width"], ["x"], "net/Div"),
        helper.make_node("Conv", ["x", "w"], ["y"], "net.stem", pads=[1] * 4, strides=[2, 2]),
    ]
    outputs: dict[str, list[int | str]] = {"y": [2, 4, 4, 5]}
    if second_reader:
        nodes.append(helper.make_node("Neg", ["unit"], ["other"], "other"))
        outputs["other"] = [2, 3, 8, 10]
    model = graph(nodes, {"image": [2, 8, 10, 3]}, outputs, weights)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    return model


def result(model: ModelProto) -> NDArray[np.float32]:
    checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(["y"], {"image": PHOTOS})[0]
    return found


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_convolution_gives_the_same(per_channel: bool) -> None:
    model = preamble(per_channel=per_channel)
    expected = result(model)
    assert transpose_late(model)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == ["Cast", "Mul", "Abs", "Add", "Clip", "Transpose", "Conv"]
    row = (10, 3) if per_channel else ()
    assert {item.name: to_array(item).shape for item in model.graph.initializer if item.name.startswith("photo.")} == {
        "photo.scale": (),
        "photo.shift": row,
        "photo.least": (),
        "photo.most": (),
    }
    np.testing.assert_allclose(result(model), expected, rtol=1e-5, atol=1e-5)
    assert not transpose_late(model)  # there is nothing left to change


@pytest.mark.parametrize("other", [{"order": (0, 1, 2)}, {"second_reader": True}])
def test_another_graph_is_left_as_it_is(other: dict[str, object]) -> None:
    model = preamble(**other)  # type: ignore[arg-type]
    before = model.SerializeToString()
    assert not transpose_late(model)
    assert model.SerializeToString() == before
