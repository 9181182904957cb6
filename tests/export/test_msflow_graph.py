"""MSFlow as one graph: the detector's numbers, what is INT8, and the way to a stream; as a mask source too."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edge_ad.bundle import Bundle
from edge_ad.calibration.graph_runner import backbone_features, run_graph
from edge_ad.calibration.layers import FloatModules, backbone_output, int8_candidates
from edge_ad.cli.app import main
from edge_ad.export.onnx_export import DeployGraph, export_onnx
from edge_ad.models import AnomalyDetector, create_detector
from edge_ad.training.feature_cache import compute_features
from edge_ad.training.loop import LoopSettings, run_stages
from edge_ad.training.preparation import fit_photos, fit_to_images
from edge_ad.training.runs import Run, load_run
from tests.export.same_numbers import assert_same_numbers

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("msflow", {"blocks": "1,1,2"}),
    ("msflow", {"blocks": "1,1,1", "reference": "picture", "score": "map", "input_normalisation": "picture"}),
    ("ear", {"width": "pico", "mask_source": "msflow", "flow_steps": 3}),
]
NAMES = ["photos", "picture", "mask-source"]
MARKS: list[list[pytest.MarkDecorator]] = [[], [], [pytest.mark.slow]]


@pytest.fixture(
    scope="module", params=[pytest.param(*x, marks=y, id=z) for *x, y, z in zip(VARIANTS, MARKS, NAMES, strict=True)]
)
def detector(request: pytest.FixtureRequest) -> AnomalyDetector:
    """Trained for two epochs on noise."""
    method, values = request.param
    made = create_detector(method, {"size": 64, "epochs": 2, **values})
    images = np.random.default_rng(1).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    fit_photos(made, images)
    backbone = made.backbone
    assert backbone is not None
    data = fit_to_images(made, images, images[:2], lambda some: compute_features(backbone, some))
    run_stages(made, data, LoopSettings(seed=0, device=torch.device("cpu")), lambda report: None)
    return made.eval()


@pytest.fixture(scope="module")
def model(detector: AnomalyDetector) -> onnx.ModelProto:
    return export_onnx(detector)


def test_the_graph_gives_the_detectors_numbers(detector: AnomalyDetector, model: onnx.ModelProto) -> None:
    assert_same_numbers(detector, model)


def test_permutations_and_position_codes_are_not_deployed(model: onnx.ModelProto) -> None:
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"Gather", "GatherElements", "TopK", "Sin"}
    assert not any("order" in tensor.name or ".code_" in tensor.name for tensor in model.graph.initializer)


def test_subnets_may_be_int8_and_permutations_and_likelihoods_may_not(
    detector: AnomalyDetector, model: onnx.ModelProto
) -> None:
    layers = int8_candidates(model, FloatModules.of(detector))
    flows = [layer for layer in layers if "flow." in layer]
    if detector.method == "ear":
        assert flows == []
    else:
        assert all(layer.split(".")[-1] in {"first", "second", "0", "1", "2"} for layer in flows)
        assert {"flow.parallel.0.0.first", "flow.fusion.of_first.second"} <= set(flows)


def test_the_backbones_output_is_what_the_flow_is_trained_on(
    detector: AnomalyDetector, model: onnx.ModelProto
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    backbone = detector.backbone
    assert backbone is not None
    found = backbone_features(model, backbone_output(model, FloatModules.of(detector)), images)
    expected = compute_features(backbone, images).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_a_tiny_run_is_calibrated_built_verified_and_streamed(run: Run, tmp_path: Path) -> None:
    photos, root = run.product_root, tmp_path / "runs" / "discs"
    where = ["--data", str(photos), "--runs", str(root.parent), "--name", root.name]
    parameters = ["-p", "blocks=1,1,2", "--size", "64", "--epochs", "40", "--no-check-photos"]
    assert main(["train", "msflow", *where, *parameters]) == 0
    assert load_run(root).method == "msflow"
    assert main(["calibrate", str(root), "--max-drop", "0.2"]) == 0
    assert "int8" in Bundle.open(root / "bundle").manifest.graphs
    assert main(["build-engine", str(root), "--precision", "int8"]) == 0
    assert main(["verify", str(root)]) == 0
    assert main(["stream", "--bundle", str(root / "bundle"), "--source", str(photos), "--headless"]) == 0
