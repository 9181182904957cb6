"""DRAEM as one graph: the detector's numbers from plain operators, and an INT8 graph that passes its gate."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge_ad.calibration.graph_runner import run_graph
from edge_ad.calibration.layers import FloatModules, float_reasons, int8_candidates
from edge_ad.export.bundle_export import export_run
from edge_ad.export.onnx_export import DeployGraph, export_onnx
from edge_ad.models import AnomalyDetector, create_detector
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import Run, load_run
from edge_ad.training.train import train
from tests.export.conftest import with_int8
from tests.export.same_numbers import assert_same_numbers

PLAIN = {
    "Add", "Cast", "Concat", "Conv", "DepthToSpace", "Div", "Mul", "ReduceMax", "Relu", "Reshape", "Resize", "Sigmoid",
    "Slice", "SpaceToDepth", "Split", "Sub", "Squeeze", "Transpose",
}  # fmt: skip


@pytest.fixture(scope="module")
def detector() -> AnomalyDetector:
    """With statistics and weights that are not those of the start, as after a training."""
    made = create_detector("draem", {"size": 64}).train()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1.5)
        for _ in range(3):
            made(torch.rand(4, 3, 64, 64))
    return made.eval()


@pytest.fixture(scope="module")
def model(detector: AnomalyDetector) -> onnx.ModelProto:
    return export_onnx(detector)


def test_the_graph_gives_the_detectors_numbers(detector: AnomalyDetector, model: onnx.ModelProto) -> None:
    assert_same_numbers(detector, model)


def test_it_has_plain_operators_and_no_batch_norm(model: onnx.ModelProto) -> None:
    assert {node.op_type for node in model.graph.node} <= PLAIN


def test_both_networks_are_int8_candidates_and_the_mean_filter_is_not(
    detector: AnomalyDetector, model: onnx.ModelProto
) -> None:
    modules = FloatModules.of(detector)
    assert {layer.split(".")[0] for layer in int8_candidates(model, modules)} == {"reconstructive", "discriminative"}
    assert all(layer.startswith("smoothing") for layer in float_reasons(model, modules))


@pytest.mark.slow
def test_a_tiny_run_gets_an_int8_graph_through_the_gate(run: Run, tmp_path: Path) -> None:
    values = {"size": 64, "epochs": 20, "learning_rate": 3e-3}
    request = TrainingRequest("draem", data=run.product_root, root=tmp_path / "run", values=values, batch_size=5)
    learned = load_run(train(request, lambda report: None))
    assert "int8" in with_int8(learned, export_run(learned)).manifest.graphs
