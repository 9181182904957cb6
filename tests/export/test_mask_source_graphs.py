"""EAR and FADeR behind every mask source with a network of its own, as one graph that every backend takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edge_ad.calibration.graph_runner import open_graph
from edge_ad.export.onnx_export import DeployGraph, export_onnx
from edge_ad.export.tensorrt.builder import build_plan
from edge_ad.export.tensorrt.config import PlanOptions
from edge_ad.models import AnomalyDetector, create_detector
from tests.models.transformer_folders import save_clip, save_vit
from tests.runtime.tiny_bundle import threshold

pytest.importorskip("transformers")

_TINY: dict[str, Any] = {"width": "pico", "mosaic": 8, "predictor": "mlp"}


def _vit(architecture: str, source: str, folder: Path) -> dict[str, Any]:
    return {**_TINY, "mask_source": source, "mask_model": str(save_vit(folder, architecture))}


def _winclip_mask(folder: Path) -> dict[str, Any]:
    return {**_TINY, "mask_source": "winclip", "mask_model": str(save_clip(folder, patch=14))}


def _winclip(folder: Path) -> dict[str, Any]:
    return {"clip_model": str(save_clip(folder))}


DETECTORS: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "vit": ("fader", partial(_vit, "ViT", "vit")),
    "dinov2-registers": ("fader", partial(_vit, "Dinov2WithRegisters", "dino")),
    "dinov3": ("fader", partial(_vit, "DINOv3ViT", "dino")),
    "ami-net": ("fader", lambda folder: {**_TINY, "mask_source": "ami-net", "ami_steps": 3}),
    "winclip-mask": ("fader", _winclip_mask),
    "winclip": ("winclip", _winclip),
}
"""Name → method, and its parameters with a network that is written to a folder."""


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AnomalyDetector:
    method, values = DETECTORS[request.param]
    torch.manual_seed(0)
    made = create_detector(method, {"size": 64, **values(tmp_path_factory.mktemp(request.param))}).eval()
    if made.backbone is not None:
        features = made.backbone(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
        made.fit_features(features, features)
    return made


@pytest.fixture(scope="module")
def model(detector: AnomalyDetector) -> onnx.ModelProto:
    return export_onnx(detector)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_graph_gives_the_detectors_numbers(
    backend: str, detector: AnomalyDetector, model: onnx.ModelProto
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        scores, maps = DeployGraph(detector)(torch.from_numpy(images))
    with open_graph(model, backend, "fp32", threshold()) as engine:
        predictions = engine.infer(images)
    np.testing.assert_allclose([item.score for item in predictions], scores.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.stack([item.anomaly_map for item in predictions]), maps.numpy(), rtol=0, atol=1e-4)
    assert maps.std() > 1e-3


def test_nothing_that_does_not_depend_on_the_photo_is_computed(model: onnx.ModelProto) -> None:
    source = [node for node in model.graph.node if node.name.startswith(("mask_source", "windows"))]
    assert not {"Gather", "Expand", "Where"} & {node.op_type for node in source}, {node.op_type for node in source}
    modes = [item.s for node in source if node.op_type == "Resize" for item in node.attribute if item.name == "mode"]
    assert b"cubic" not in modes  # of positions
    sizes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    assert not any("cls_token" in name or "position_emb" in name for name in sizes)


def test_tensorrt_makes_a_plan_of_it(model: onnx.ModelProto, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")
    onnx.save(model, str(tmp_path / "model.onnx"))
    built = build_plan(tmp_path / "model.onnx", "tensorrt-rtx", "fp32", PlanOptions(("sm89",)), macs={})
    assert len(built.plan) > 100_000
