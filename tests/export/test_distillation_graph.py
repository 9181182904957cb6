"""Students of a frozen teacher as one graph: the detector's numbers, what is INT8, and the way to a stream."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edge_ad.bundle import Bundle
from edge_ad.calibration.graph_runner import run_graph
from edge_ad.calibration.layers import FloatModules, float_reasons, int8_candidates
from edge_ad.cli.app import main
from edge_ad.export.onnx_export import DeployGraph, export_onnx
from edge_ad.models import AnomalyDetector, create_detector
from edge_ad.training.feature_cache import compute_features
from edge_ad.training.loop import LoopSettings, run_stages
from edge_ad.training.preparation import fit_photos, fit_to_images
from edge_ad.training.runs import Run, load_run
from tests.export.same_numbers import assert_same_numbers

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("reverse-distillation", {}),
    ("gnl", {}),
    ("fico", {}),
    ("gnl", {"matching": "moments", "input_normalisation": "picture"}),
    ("gnl", {"matching": "counts"}),
]


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: "-".join([variant[0], *variant[1].values()]))
def detector(request: pytest.FixtureRequest) -> AnomalyDetector:
    """Each method, trained for two epochs on noise."""
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


def test_nothing_of_the_training_is_deployed(model: onnx.ModelProto) -> None:
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"BatchNormalization", "ConvTranspose", "Resize", "SpaceToDepth"}
    assert not any("style_filter" in tensor.name for tensor in model.graph.initializer)


def test_the_student_may_be_int8_and_the_distance_may_not(detector: AnomalyDetector, model: onnx.ModelProto) -> None:
    modules = FloatModules.of(detector)
    parts = {layer.split(".")[0] for layer in int8_candidates(model, modules)}
    assert {"teacher", "bottleneck", "student"} <= parts
    assert any(layer.startswith("cosine_map") for layer in float_reasons(model, modules))
    assert "cosine_map" not in parts


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name, values in VARIANTS if not values])
def test_a_tiny_run_is_calibrated_built_verified_and_streamed(method: str, run: Run, tmp_path: Path) -> None:
    photos, root = run.product_root, tmp_path / "runs" / "discs"
    where = ["--data", str(photos), "--runs", str(root.parent), "--name", root.name]
    assert main(["train", method, *where, "--size", "64", "--epochs", "10", "--no-check-photos"]) == 0
    assert load_run(root).method == method
    assert main(["calibrate", str(root), "--max-drop", "0.2"]) == 0
    assert "int8" in Bundle.open(root / "bundle").manifest.graphs
    assert main(["build-engine", str(root), "--precision", "int8"]) == 0
    assert main(["verify", str(root)]) == 0
    assert main(["stream", "--bundle", str(root / "bundle"), "--source", str(photos), "--headless"]) == 0
