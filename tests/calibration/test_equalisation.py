import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from edge_ad.calibration.rescaling import channel_scales, scale_channels
from edge_ad.calibration.graph import constants, replace_nodes
from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.graph import with_outputs
from tests.calibration.backbones import LAYERS, LINEAR, bottleneck, photos

FRAMES = [frame[None] for frame in photos(4)]


def values_of(model: ModelProto, tensor: str) -> NDArray[np.float32]:
    session = create_session(with_outputs(model, [tensor]))
    return np.concatenate([session.run([tensor], {"image": frame})[0] for frame in FRAMES])


def test_the_scaled_graph_computes_the_same_from_channels_of_one_range() -> None:
    model = bottleneck()
    before = model.SerializeToString()
    scales = channel_scales(model, LAYERS, FRAMES)
    scaled = scale_channels(model, scales)
    assert model.SerializeToString() == before
    np.testing.assert_allclose(values_of(scaled, "features"), values_of(model, "features"), rtol=1e-4, atol=1e-4)

    def widest(graph: ModelProto) -> NDArray[np.float32]:
        both = [np.abs(values_of(graph, name)).max(axis=(0, 2, 3)) for name in ("reduced", "sum")]
        return np.maximum(*both)

    assert widest(model).max() / widest(model).min() > 20
    assert widest(scaled).max() / widest(scaled).min() < 1.5


def test_only_what_lies_between_convolutions_and_sums_is_scaled_and_what_is_summed_alike() -> None:
    scales = channel_scales(bottleneck(), LAYERS, FRAMES)
    assert sorted(scales) == sorted(LINEAR)
    for name in LINEAR:
        np.testing.assert_array_equal(scales[name], scales["reduced"])
        assert scales[name].max() == 1
        assert scales[name].min() >= 0.01


def test_without_a_layer_that_reads_it_nothing_is_scaled() -> None:
    assert channel_scales(bottleneck(), ["net.project"], FRAMES) == {}
    assert channel_scales(bottleneck(), [], FRAMES) == {}


@pytest.mark.parametrize("operator", ["Relu", "Softmax"])
def test_a_reader_that_cannot_take_the_factor_leaves_the_whole_group_alone(operator: str) -> None:
    model = bottleneck()
    nodes = list(model.graph.node)
    at = next(index for index, node in enumerate(nodes) if node.name == "net.pool")
    nodes.insert(at, helper.make_node(operator, ["sum"], ["changed"], "net/other"))
    nodes[at + 1].input[0] = "changed"
    replace_nodes(model, nodes)
    assert channel_scales(model, LAYERS, FRAMES) == {}


def test_a_maker_that_cannot_take_the_factor_does_so_too() -> None:
    model = bottleneck()
    nodes = list(model.graph.node)
    at = next(index for index, node in enumerate(nodes) if node.name == "net.reduce")
    nodes[at].output[0] = "raw"
    nodes.insert(at + 1, helper.make_node("Relu", ["raw"], ["reduced"], "net/other"))
    replace_nodes(model, nodes)
    assert channel_scales(model, LAYERS, FRAMES) == {}


def test_a_map_of_one_channel_that_is_added_to_all_of_them_does_so_too() -> None:
    model = bottleneck()
    for name in ("project.w", "project.b"):
        constants(model)[name].CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(constants(model)[name])[:1], name)
        )
    assert values_of(model, "projected").shape[1] == 1
    assert channel_scales(model, LAYERS, FRAMES) == {}


def test_a_channel_that_is_always_zero_is_no_division_by_zero() -> None:
    model = bottleneck()
    for name in ("reduce.w", "reduce.b", "project.w", "project.b"):
        tensor = constants(model)[name]
        values = np.frombuffer(tensor.raw_data, np.float32).reshape(tuple(tensor.dims)).copy()
        values[3] = 0
        tensor.raw_data = values.tobytes()
    scales = channel_scales(model, LAYERS, FRAMES)
    assert scales["sum"][3] == pytest.approx(0.01)
    scaled = scale_channels(model, scales)
    np.testing.assert_allclose(values_of(scaled, "features"), values_of(model, "features"), rtol=1e-4, atol=1e-4)
