import numpy as np
import openvino
from numpy.typing import NDArray
from onnx import ModelProto, checker

from edge_ad.calibration.quantiser import BackboneForm
from edge_ad.calibration.rescaling import scale_channels
from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.qdq import insert_qdq
from edge_ad.calibration.quantiser import Quantiser
from tests.calibration.backbones import LAYERS, bottleneck, photos, residual
from tests.calibration.saturation import SUMS_SATURATE

UNSEEN = photos(6, seed=1)


def features(model: ModelProto) -> NDArray[np.float32]:
    session = create_session(model)
    return np.concatenate([session.run(["features"], {"image": frame[None]})[0] for frame in UNSEEN])


def noise(model: ModelProto, exact: NDArray[np.float32]) -> float:
    return float(np.square(features(model) - exact).mean() / exact.var())


def quantised(model: ModelProto, layers: list[str]) -> tuple[ModelProto, BackboneForm]:
    form = BackboneForm.measure(model, LAYERS, photos(16), "minmax")
    scaled = scale_channels(model, form.scales)
    return Quantiser(scaled, LAYERS, photos(16), "minmax", backbone=form).quantise(layers), form


def test_a_backbone_in_its_form_is_nearer_to_float_than_one_rounded_to_the_nearest() -> None:
    for seed in range(3):
        model = bottleneck(seed)
        exact = features(model)
        nearest = Quantiser(model, LAYERS, photos(16), "minmax").quantise(LAYERS)
        formed, _ = quantised(model, LAYERS)
        assert 0 < noise(formed, exact) < 0.25 * noise(nearest, exact)


def test_each_subset_of_layers_is_a_valid_graph_near_float() -> None:
    model = bottleneck()
    exact = features(model)
    for layers in ([], LAYERS[:1], LAYERS[1:], LAYERS):
        graph, _ = quantised(model, layers)
        checker.check_model(graph, full_check=True)
        kinds = [node.op_type for node in graph.graph.node]
        assert kinds.count("QuantizeLinear") == len(layers)
        assert noise(graph, exact) < 1e-3


def test_other_layers_are_quantised_beside_it_as_ever() -> None:
    model = bottleneck()
    graph, form = quantised(model, LAYERS)
    assert set(form.rounded) == set(LAYERS)
    assert BackboneForm.measure(model, [], photos(2), "minmax") == BackboneForm()
    plain = BackboneForm().quantise(model, ["net.reduce"], {"x": 1.0})
    assert plain == insert_qdq(model, ["net.reduce"], {"x": 1.0})
    assert graph != plain


def test_larger_kernels_are_rounded_to_the_nearest_and_nothing_is_shifted_past_a_relu() -> None:
    model = residual()
    layers = ["net.wide", "net.narrow", "net.last"]
    form = BackboneForm.measure(model, layers, photos(16), "minmax")
    assert set(form.rounded) == {"net.narrow", "net.last"}
    assert form.scales == {}
    formed = form.quantise(model, layers, form.clips)
    exact, nearest = features(model), Quantiser(model, layers, photos(16), "minmax").quantise(layers)
    assert noise(formed, exact) < noise(nearest, exact) < 1e-2


def test_openvino_computes_what_onnx_runtime_does() -> None:
    graph, _ = quantised(bottleneck(), LAYERS)
    engine = openvino.Core().compile_model(
        openvino.Core().read_model(graph.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    expected = features(graph)
    got = np.concatenate([engine(frame[None])[0] for frame in UNSEEN])
    # A value on the edge of two levels may fall to either side; without VNNI, OpenVINO's sums saturate in 16 bits.
    assert np.square(got - expected).mean() < (1e-2 if SUMS_SATURATE else 1e-4) * expected.var()
