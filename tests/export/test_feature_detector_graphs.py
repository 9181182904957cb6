"""The deploy graphs of the detectors on patch features: the trained detector's numbers, and nothing of its training."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edge_ad.calibration.graph_runner import run_graph
from edge_ad.export.onnx_export import DeployGraph
from edge_ad.export.onnx_export import export_onnx
from edge_ad.models import AnomalyDetector, create_detector
from edge_ad.training.feature_cache import compute_features
from edge_ad.training.loop import LoopSettings, run_stages
from edge_ad.training.preparation import fit_photos, fit_to_images

LOCAL = {"standardise": "local", "start": "distance", "rank": 3}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("patch-nearest", {"bank": 50}),
    ("patch-gaussian", {"rank": 3, "views": 1, "input_normalisation": "picture", "feature_centring": True}),
    ("patch-gaussian", {"rank": 3, "block": 1, "matching": "moments"}),
    ("patch-gaussian", {"rank": 3, "block": 1, "matching": "exact"}),
    ("patch-metric", {"rank": 3, "epochs": 2, "input_normalisation": "picture", "matching": "counts", "views": 2}),
    ("patch-metric", {"rank": 3, "epochs": 2}),
    ("simplenet", {"hidden": 16, "epochs": 2}),
    ("simplenet", {"hidden": 16, "epochs": 2, "levels": "4,16", "neighbourhood": 1, "standardise": "position"}),
    ("supersimplenet", {"hidden": 16, "epochs": 2}),
    ("supersimplenet", {"hidden": 16, "epochs": 2, "standardise": "channel", "upscaling": 2, "classifier_score": True}),
    ("pbas", {"hidden": 16, "epochs": 2, **LOCAL}),
    ("pbas", {"hidden": 16, "epochs": 2, "refine": False}),
    ("boundary-shuffling", {"hidden": 16, "epochs": 2}),
]


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: "-".join([variant[0], *variant[1]]))
def detector(request: pytest.FixtureRequest) -> AnomalyDetector:
    """Each method, trained for two epochs on noise."""
    method, values = request.param
    made = create_detector(method, {"size": 64, **values})
    images = np.random.default_rng(1).integers(0, 256, (10, 64, 64, 3), dtype=np.uint8)
    backbone = made.backbone
    assert backbone is not None
    fit_photos(made, images)
    data = fit_to_images(made, images, images[:2], lambda some: compute_features(backbone, some))
    run_stages(made, data, LoopSettings(seed=0, device=torch.device("cpu")), lambda report: None)
    return made.eval()


@pytest.fixture(scope="module")
def model(detector: AnomalyDetector) -> onnx.ModelProto:
    return export_onnx(detector)


def test_the_graph_gives_the_detectors_numbers(detector: AnomalyDetector, model: onnx.ModelProto) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        scores, maps = DeployGraph(detector)(torch.from_numpy(images))
    predictions = run_graph(model, images)
    # By rank: two values that rounding swaps get two values of the reference, far apart where there are 256 of noise.
    limit = 1e-3 if detector.config.model_dump()["matching"] == "exact" else 1e-4
    np.testing.assert_allclose([item.score for item in predictions], scores.numpy(), rtol=limit, atol=limit)
    found = np.stack([item.anomaly_map for item in predictions])
    np.testing.assert_allclose(found, maps.numpy(), rtol=limit, atol=limit)


def test_the_photo_is_transposed_right_before_the_first_convolution(
    detector: AnomalyDetector, model: onnx.ModelProto
) -> None:
    if detector.config.model_dump()["input_normalisation"] == "picture":
        pytest.skip("its means are taken by channel")
    kinds = [node.op_type for node in model.graph.node]
    assert kinds[: kinds.index("Conv") + 1] == ["Cast", "Mul", "Abs", "Add", "Clip", "Transpose", "Conv"]


def test_nothing_of_the_training_is_deployed(detector: AnomalyDetector, model: onnx.ModelProto) -> None:
    carried = {tensor.name for tensor in model.graph.initializer}
    assert not any("radius_field" in name for name in carried)
    assert any("centres" in name for name in carried) == (not getattr(detector.config, "refine", True))
    kinds = [node.op_type for node in model.graph.node]
    assert not set(kinds) & {"BatchNormalization", "Gather", "Unfold"}
    assert kinds.count("TopK") == (2 if detector.config.model_dump()["matching"] == "exact" else 0)


def test_a_plain_head_is_two_convolutions_behind_the_features(
    detector: AnomalyDetector, model: onnx.ModelProto
) -> None:
    if not hasattr(detector, "head") or detector.head.distance or not getattr(detector.config, "refine", True):
        pytest.skip("another kind of head")
    layers = [node.name for node in model.graph.node if node.name.startswith("head.") and "/" not in node.name]
    assert layers == ["head.folded", "head.folded_out"]
    assert not any(node.op_type in ("MatMul", "Gemm") and node.name.startswith("head") for node in model.graph.node)
