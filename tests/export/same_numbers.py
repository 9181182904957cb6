"""Hold an exported graph to the detector that it came from."""

import numpy as np
import onnx
import torch

from edge_ad.calibration.graph_runner import run_graph
from edge_ad.export.onnx_export import DeployGraph
from edge_ad.models import AnomalyDetector


def assert_same_numbers(detector: AnomalyDetector, model: onnx.ModelProto) -> None:
    """Scores and maps of noise at 64 x 64 pixels, which must not be flat."""
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        scores, maps = DeployGraph(detector)(torch.from_numpy(images))
    predictions = run_graph(model, images)
    np.testing.assert_allclose([item.score for item in predictions], scores.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.stack([item.anomaly_map for item in predictions]), maps.numpy(), rtol=0, atol=1e-4)
    assert maps.std() > 1e-3
