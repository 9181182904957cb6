"""An input of another height than width, through every family of methods."""

from typing import Any

import numpy as np
import pytest

from edge_ad.calibration.graph_runner import run_graph
from edge_ad.errors import UsageError
from edge_ad.export.onnx_export import export_onnx
from edge_ad.models.registry import create_detector
from edge_ad.training.runs import torch_predictor

FAMILIES: dict[str, dict[str, Any]] = {
    "patch-gaussian": {"weights": "random", "matching": "moments"},
    "patch-nearest": {"weights": "random", "bank": 20},
    "simplenet": {"weights": "random"},
    "cutpaste": {"weights": "random"},
    "fader": {"width": "pico", "mask_source": "full", "predictor": "vit"},
    "draem": {},
    "dsr": {},
    "gnl": {"weights": "random"},
}
SIZE_HW = (64, 128)


@pytest.mark.parametrize("method", FAMILIES)
def test_the_graph_of_a_rectangular_input_gives_the_detectors_numbers(method: str) -> None:
    detector = create_detector(method, {"size": SIZE_HW, **FAMILIES[method]})
    images = np.random.default_rng(0).integers(0, 256, (2, *SIZE_HW, 3), np.uint8)
    found, expected = run_graph(export_onnx(detector), images), torch_predictor(detector)(images)
    for a, b in zip(found, expected, strict=True):
        assert a.anomaly_map.shape == SIZE_HW
        assert a.score == pytest.approx(b.score, rel=1e-3)
        np.testing.assert_allclose(a.anomaly_map, b.anomaly_map, atol=1e-3 * np.abs(b.anomaly_map).max())


def test_a_side_of_thirteen_blocks_is_not_taken_for_the_batch() -> None:
    detector = create_detector("patch-gaussian", {"size": (32, 416), "weights": "random"})
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 416, 3), np.uint8)
    found, expected = run_graph(export_onnx(detector), images), torch_predictor(detector)(images)
    assert [result.score for result in found] == pytest.approx([result.score for result in expected], rel=1e-3)


@pytest.mark.parametrize("method", ["patch-gaussian", "fader", "draem", "gnl"])
def test_sides_that_the_network_does_not_take_are_refused(method: str) -> None:
    with pytest.raises(UsageError, match="64x100 does not fit"):
        create_detector(method, {"size": "64x100"})
