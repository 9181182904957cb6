"""The shipped methods as deploy graphs, tiny and untrained, in every precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto

from edge_ad.bundle import Bundle
from edge_ad.calibration.fp16 import convert_to_fp16
from edge_ad.calibration.layers import FloatModules, int8_candidates, keep_in_fp32, measure_magnitudes
from edge_ad.calibration.qdq import insert_qdq, quantisable_layers
from edge_ad.export.onnx_export import export_onnx
from edge_ad.models.registry import create_detector
from tests.runtime.tiny_bundle import tiny_bundle

_PARAMETERS: dict[str, dict[str, Any]] = {
    "draem": {},
    "dsr": {},
    "ear": {"width": "pico"},
    "fader": {"width": "pico"},
    "patch-gaussian": {"rank": 4},
    "patch-metric": {"rank": 4},
    "patch-nearest": {"bank": 64},
    "simplenet": {"start": "random", "standardise": "whiten"},
    "supersimplenet": {"start": "random", "standardise": "whiten", "classifier_score": True},
    "pbas": {"rank": 4},
    "boundary-shuffling": {"rank": 4, "start": "distance"},
    "cutpaste": {},
    "reverse-distillation": {},
    "gnl": {},
    "fico": {},
    "msflow": {},
}


@dataclass(frozen=True)
class Graphs:
    """One method in every precision.

    Attributes:
        folder: Has ``<precision>.onnx`` for each.
        models: Precision → graph; ``"mixed"`` has half of the layers of ``"int8"`` in INT8.
        quantised: Precision → layers that were given Q/DQ.
    """

    folder: Path
    models: dict[str, ModelProto]
    quantised: dict[str, list[str]]


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Graphs]:
    """Method → its graphs, made once."""
    made: dict[str, Graphs] = {}

    def call(method: str) -> Graphs:
        if method not in made:
            made[method] = _make(method, tmp_path_factory.mktemp(method))
        return made[method]

    return call


@pytest.fixture(scope="session")
def rtx() -> str:
    """Version of TensorRT for RTX; the test is skipped where it is not installed."""
    return str(pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx").__version__)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle around the smallest deploy graph."""
    return tiny_bundle(tmp_path / "bundle")


def _make(method: str, folder: Path) -> Graphs:
    torch.manual_seed(0)
    detector = create_detector(method, {"size": 64, **_PARAMETERS[method]}).eval()
    model, modules = export_onnx(detector), FloatModules.of(detector)
    frames = [np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)]
    kept = keep_in_fp32(model, measure_magnitudes(model, frames), modules)
    layers = int8_candidates(model, modules)
    quantised = {"int8": layers, "mixed": layers[::2]}
    inputs = {node.name: node.input[0] for node in quantisable_layers(model)}
    models = {"fp32": model, "fp16": convert_to_fp16(model, kept)}
    models |= {name: insert_qdq(model, part, {inputs[x]: 3.0 for x in part}) for name, part in quantised.items()}
    for name, graph in models.items():
        onnx.save(graph, str(folder / f"{name}.onnx"))
    return Graphs(folder, models, quantised)
