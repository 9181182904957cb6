"""Weights of a backbone, rounded to bfloat16 so that sums stay."""

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edge_ad.calibration.rounding import round_to_bf16, to_bf16, with_constants
from edge_ad.calibration.graph_runner import create_session
from tests.export.graphs import graph

STAGE = "patch_features.network.stages.1.0"
LAYERS = [f"{STAGE}.{name}" for name in ("expand", "depthwise", "project")]


def photos(count: int) -> np.ndarray:
    """Smooth ones, uint8 (count, 24, 24, 3)."""
    coarse = np.random.default_rng(0).uniform(40, 215, (count, 6, 6, 3))
    smooth = coarse.repeat(4, 1).repeat(4, 2)
    return np.clip(smooth + np.random.default_rng(1).normal(scale=2, size=smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def model() -> ModelProto:
    """A photo → 1×1 to 16 channels → ReLU6 → depthwise 3×3, stride 2, padded → 1×1 to 8 channels."""
    rng = np.random.default_rng(2)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(scale=0.5, size=shape).astype(np.float32)

    weights = {
        **{"e.w": draw(16, 3, 1, 1) * 0.05, "e.b": draw(16) + 2, "d.w": draw(16, 1, 3, 3), "d.b": draw(16)},
        **{"p.w": draw(8, 16, 1, 1), "p.b": draw(8), "low": np.float32(0), "high": np.float32(6)},
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["cast"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["nchw"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "e.w", "e.b"], ["e"], f"{STAGE}.expand"),
        helper.make_node("Clip", ["e", "low", "high"], ["m"], f"{STAGE}/Clip"),
        helper.make_node(
            "Conv", ["m", "d.w", "d.b"], ["d"], f"{STAGE}.depthwise", group=16, strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Conv", ["d", "p.w", "p.b"], ["y"], f"{STAGE}.project"),
    ]
    made = graph(nodes, {"x": [1, 24, 24, 3]}, {"y": [1, 8, 12, 12]}, weights)
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    return made


def outputs(model: ModelProto, images: np.ndarray) -> np.ndarray:
    session = create_session(model)
    return np.concatenate([session.run(["y"], {"x": image[np.newaxis]})[0] for image in images])


def test_to_bf16_is_that_of_torch() -> None:
    values = np.random.default_rng(0).normal(size=4096).astype(np.float32) * 10.0 ** np.arange(-8, 8).repeat(256)
    values = np.concatenate([values, [0.0, -0.0, 1.00390625, 1.01171875]]).astype(np.float32)  # the last two are ties
    assert np.array_equal(to_bf16(values), torch.from_numpy(values).bfloat16().float().numpy())


def test_sums_are_nearer_to_float_than_with_every_weight_to_the_nearest(model: ModelProto) -> None:
    images = photos(12)
    rounded = round_to_bf16(model, LAYERS, images[:6, np.newaxis])
    assert rounded.keys() == {"e.w", "e.b", "d.w", "d.b", "p.w", "p.b"}
    assert all(np.array_equal(values, to_bf16(values)) for values in rounded.values())
    exact = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nearest = {name: to_bf16(exact[name]) for name in rounded}
    assert all(rounded[name].shape == exact[name].shape for name in rounded)
    unseen = images[6:]
    errors = [outputs(with_constants(model, values), unseen) - outputs(model, unseen) for values in (nearest, rounded)]
    before, after = (float(np.square(error).mean()) for error in errors)
    assert after < before / 3


def test_what_stays_in_float32_and_what_is_no_backbone_keeps_its_weights(model: ModelProto) -> None:
    frames = photos(2)[:, np.newaxis]
    assert round_to_bf16(model, LAYERS[1:], frames).keys() == {"d.w", "d.b", "p.w", "p.b"}
    model.graph.node[-1].name = "detector.project"
    assert round_to_bf16(model, LAYERS[1:], frames).keys() == {"d.w", "d.b"}
    del model.graph.node[4].input[2]  # no bias to take the error
    assert round_to_bf16(model, LAYERS[1:], frames) == {}


def test_a_copy_with_other_constants_leaves_the_graph_as_it_is(model: ModelProto) -> None:
    before = model.SerializeToString()
    copy = with_constants(model, {"p.b": np.ones(8, np.float32)})
    assert model.SerializeToString() == before
    assert np.array_equal(numpy_helper.to_array(copy.graph.initializer[5]), np.ones(8))
