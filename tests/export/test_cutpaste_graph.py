"""CutPaste as one graph: the detector's numbers, plain operators, and nothing of its training."""

import numpy as np
import onnx
import pytest
import torch

from edge_ad.calibration.graph_runner import run_graph
from edge_ad.calibration.layers import FloatModules, float_reasons, int8_candidates
from edge_ad.export.onnx_export import DeployGraph
from edge_ad.export.onnx_export import export_onnx
from edge_ad.models import AnomalyDetector, create_detector
from edge_ad.training.feature_cache import compute_features


@pytest.fixture(scope="module")
def detector() -> AnomalyDetector:
    made = create_detector("cutpaste", {"size": 64})
    images = np.random.default_rng(1).integers(0, 256, (10, 64, 64, 3), dtype=np.uint8)
    assert made.backbone is not None
    features = compute_features(made.backbone, images)
    made.fit_features(features[:8], features[8:])
    return made


@pytest.fixture(scope="module")
def model(detector: AnomalyDetector) -> onnx.ModelProto:
    return export_onnx(detector)


def test_the_graph_gives_the_detectors_numbers(detector: AnomalyDetector, model: onnx.ModelProto) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        scores, maps = DeployGraph(detector)(torch.from_numpy(images))
    predictions = run_graph(model, images)
    np.testing.assert_allclose([item.score for item in predictions], scores.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.stack([item.anomaly_map for item in predictions]), maps.numpy(), rtol=0, atol=1e-4)


def test_it_is_convolutions_and_sums_without_the_classifiers(model: onnx.ModelProto) -> None:
    assert not any("heads" in tensor.name for tensor in model.graph.initializer)
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"LayerNormalization", "Gather", "GridSample", "Loop", "TopK", "Unfold", "Einsum"}


def test_the_gaussians_stay_in_float(detector: AnomalyDetector, model: onnx.ModelProto) -> None:
    modules = FloatModules.of(detector)
    assert all(layer.startswith("patch_features.") for layer in int8_candidates(model, modules))
    assert any(layer.startswith("gaussian.window") for layer in float_reasons(model, modules))
