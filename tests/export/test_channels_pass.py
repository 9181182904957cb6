"""Inner channels are filled up with zeros, and the result stays the same."""

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from edge_ad.export.passes import fill_channels
from tests.export.graphs import graph, run

RNG = np.random.default_rng(0)


def bottleneck(
    channels: int = 48, *, least: float = 0.0, most: float = 6.0, second_reader: bool = False, shared: bool = False
) -> ModelProto:
    """1×1, depthwise and 1×1 convolution with a clip after the first two."""
    constants: dict[str, NDArray[np.generic]] = {
        "w1": RNG.normal(size=(channels, 4, 1, 1)).astype(np.float32),
        "b1": RNG.normal(size=channels).astype(np.float32),
        "w2": RNG.normal(size=(channels, 1, 3, 3)).astype(np.float32),
        "b2": RNG.normal(size=channels).astype(np.float32),
        "w3": RNG.normal(size=(5, channels, 1, 1)).astype(np.float32),
        "least": np.array(least, np.float32),
        "most": np.array(most, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "expand"),
        helper.make_node("Clip", ["a", "least", "most"], ["b"], "Clip"),
        helper.make_node(
            "Conv", ["b", "w2", "b1" if shared else "b2"], ["c"], "depthwise", group=channels, pads=[1] * 4
        ),
        helper.make_node("Clip", ["c", "least", "most"], ["d"], "Clip_2"),
        helper.make_node("Conv", ["d", "w3"], ["y"], "project"),
    ]
    if second_reader:
        nodes.append(helper.make_node("Neg", ["b"], ["other"], "other"))
    outputs: dict[str, list[int | str]] = {"y": [2, 5, 7, 6]}
    if second_reader:
        outputs["other"] = [2, channels, 7, 6]
    return graph(nodes, {"x": [2, 4, 7, 6]}, outputs, constants)


@pytest.mark.parametrize(("channels", "filled"), [(48, 64), (8, 32), (65, 96)])
def test_the_last_convolution_gives_the_same_over_whole_blocks(channels: int, filled: int) -> None:
    model, photo = bottleneck(channels), RNG.normal(size=(2, 4, 7, 6)).astype(np.float32)
    expected = run(model, photo)
    assert fill_channels(model) == ["project"]
    shapes = {tensor.name: numpy_helper.to_array(tensor).shape for tensor in model.graph.initializer}
    assert (shapes["w1"], shapes["w2"], shapes["w3"]) == ((filled, 4, 1, 1), (filled, 1, 3, 3), (5, filled, 1, 1))
    np.testing.assert_allclose(run(model, photo), expected, rtol=1e-5, atol=1e-5)
    assert fill_channels(model) == []  # there is nothing left to fill


@pytest.mark.parametrize(
    "other",
    [
        {"channels": 64},
        {"least": 1.0},  # zero would not stay zero
        {"most": -1.0, "least": -2.0},
        {"second_reader": True},
        {"shared": True},
    ],
)
def test_another_graph_is_left_as_it_is(other: dict[str, float]) -> None:
    model = bottleneck(**other)  # type: ignore[arg-type]
    before = model.SerializeToString()
    assert fill_channels(model) == []
    assert model.SerializeToString() == before


def test_an_int8_bottleneck_is_left_as_it_is() -> None:
    model = bottleneck()
    scales = {"scale": np.float32(0.05), "zero": np.int8(0)}
    model.graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in scales.items())
    quantise = helper.make_node("QuantizeLinear", ["d", "scale", "zero"], ["d8"], "quantise")
    back = helper.make_node("DequantizeLinear", ["d8", "scale", "zero"], ["df"], "dequantise")
    nodes = list(model.graph.node)
    nodes[-1].input[0] = "df"
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:-1], quantise, back, nodes[-1]])
    assert fill_channels(model) == []
