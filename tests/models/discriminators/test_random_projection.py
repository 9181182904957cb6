"""PBAS with a projection that is drawn, as in its paper's code."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge_ad.calibration.graph_runner import run_graph
from edge_ad.errors import UsageError
from edge_ad.export.onnx_export import export_onnx
from edge_ad.models.registry import create_detector
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import load_run, torch_predictor
from edge_ad.training.train import train

VALUES = {"size": 64, "projection": "random", "start": "random", "standardise": "none", "epochs": 1, "hidden": 8}


def test_a_drawn_projection_is_trained_restored_and_exported(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 256, (64, 64, 3), np.uint8))
    run = load_run(train(TrainingRequest("pbas", tmp_path, tmp_path / "run", VALUES), lambda report: None))
    weight = run.detector.state_dict()["head.projection.weight"]
    assert float((weight - torch.diag(weight.diag())).abs().max()) > 0.01  # far from the identity
    images = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    exported = run_graph(export_onnx(run.detector), images)
    for ours, graph in zip(torch_predictor(run.detector)(images), exported, strict=True):
        assert graph.score == pytest.approx(ours.score, abs=1e-3)


def test_a_drawn_projection_needs_a_start_that_does_not_set_it() -> None:
    with pytest.raises(UsageError, match="needs start=random"):
        create_detector("pbas", {"size": 64, "projection": "random"})
