import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edge_ad.calibration.rescaling import centre_inputs
from edge_ad.calibration.graph import constants, set_attribute
from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.qdq import insert_qdq
from edge_ad.calibration.graph import with_outputs
from tests.calibration.backbones import CLIPPED, bottleneck, photos

PROJECT = ["net.project"]


def features(model: ModelProto, tensor: str = "features") -> NDArray[np.float32]:
    session = create_session(with_outputs(model, [tensor]))
    return np.concatenate([session.run([tensor], {"image": frame[None]})[0] for frame in photos(4)])


def node_of(model: ModelProto, name: str) -> helper.NodeProto:  # type: ignore[name-defined]
    return next(node for node in model.graph.node if node.name == name)


def test_the_centred_graph_computes_the_same_from_a_map_around_zero() -> None:
    model = bottleneck()
    before = model.SerializeToString()
    centred, clips = centre_inputs(model, PROJECT, {CLIPPED: 6.0, "sum": 9.0})
    assert model.SerializeToString() == before
    assert clips == {CLIPPED: 3.0, "sum": 9.0}
    np.testing.assert_allclose(features(centred), features(model), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(features(centred, CLIPPED), features(model, CLIPPED) - 3, atol=1e-5)


def test_half_a_step_is_half_the_error_whatever_the_clip() -> None:
    model = bottleneck()
    for clip in (6.0, 4.0):
        centred, clips = centre_inputs(model, PROJECT, {CLIPPED: clip})
        # The same values are clipped, so what is compared is what rounding adds.
        exact = np.minimum(features(model, CLIPPED), clip)
        plain, half = (
            features(insert_qdq(graph, PROJECT, given), f"{CLIPPED}.dequantised")
            for graph, given in ((model, {CLIPPED: clip}), (centred, clips))
        )
        assert np.square(half + clip / 2 - exact).mean() < 0.3 * np.square(plain - exact).mean()


@pytest.mark.parametrize("change", ["float", "padding", "no bias", "another reader", "lower bound", "output"])
def test_a_map_that_cannot_be_shifted_stays(change: str) -> None:
    model, layers = bottleneck(), PROJECT
    project = node_of(model, "net.project")
    if change == "float":
        layers = ["net.expand"]
    elif change == "padding":
        set_attribute(project, "pads", [1, 1, 1, 1])
    elif change == "no bias":
        del project.input[2]
    elif change == "another reader":
        node_of(model, "net.pool").input[0] = CLIPPED
    elif change == "output":
        model.graph.output.append(helper.make_tensor_value_info(CLIPPED, TensorProto.FLOAT, [1, 16, 24, 24]))
    else:
        constants(model)["zero"].CopyFrom(numpy_helper.from_array(np.array(-1, np.float32), "zero"))
    centred, clips = centre_inputs(model, layers, {CLIPPED: 6.0})
    assert clips == {CLIPPED: 6.0}
    assert centred == model


def test_two_convolutions_behind_one_map_are_both_told() -> None:
    model = bottleneck()
    after = node_of(model, "net.after")
    after.input[0], after.input[1] = CLIPPED, "project.w"
    assert centre_inputs(model, PROJECT, {CLIPPED: 6.0})[1] == {CLIPPED: 6.0}
    centred, clips = centre_inputs(model, [*PROJECT, "net.after"], {CLIPPED: 6.0})
    assert clips == {CLIPPED: 3.0}
    np.testing.assert_allclose(features(centred), features(model), rtol=1e-4, atol=1e-4)
