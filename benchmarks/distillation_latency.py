"""Latency of methods beside the first of them, by default students and the patch Gaussian: one image, in turns.

    python -m benchmarks.distillation_latency [--methods NAME:parameter=value...] [--precision int8] [--out F]

Graphs have a backbone of ImageNet and an untrained head, which take as long as trained ones; in INT8 all layers that
may become it are quantised, with ranges that mean nothing. Each is compiled by OpenVINO for one thread. A figure is
CPU time, which a busy machine moves least: the 20th percentile over rounds, in milliseconds, and over that of the first
method. A round times every graph once, in turns.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto

from benchmarks.suites.accuracy_suite import split_method
from edge_ad.calibration.layers import FloatModules, int8_candidates
from edge_ad.calibration.qdq import insert_qdq, quantisable_layers
from edge_ad.export.onnx_export import export_onnx
from edge_ad.models import create_detector
from edge_ad.runtime.openvino.api import openvino_core

METHODS = (
    "patch-gaussian",
    "reverse-distillation",
    "reverse-distillation:input_normalisation=picture",
    "reverse-distillation:matching=moments",
    "reverse-distillation:matching=counts",
    "fico",
)
_PERCENTILE = 20
_RANGE = 3.0


def _quantised(model: ModelProto, modules: FloatModules) -> ModelProto:
    """All layers that may become INT8, with ranges that mean nothing."""
    layers = int8_candidates(model, modules)
    inputs = {node.name: node.input[0] for node in quantisable_layers(model)}
    return insert_qdq(model, layers, {inputs[name]: _RANGE for name in layers})


def compiled(method: str, size: int, precision: str) -> Callable[[], object]:
    """One run of a method's graph on a random image."""
    name, values = split_method(method)
    detector = create_detector(name, {"size": size, **values}).eval()
    graph = export_onnx(detector)
    if precision == "int8":
        graph = _quantised(graph, FloatModules.of(detector))
    core = openvino_core()
    model = core.read_model(graph.SerializeToString())
    shape = (1, *detector.config.size_hw, 3)
    model.reshape(list(shape))
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request: Any = core.compile_model(model, "CPU", settings).create_infer_request()
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return lambda: request.infer([image])


def measure(methods: tuple[str, ...], size: int, rounds: int, precision: str = "fp32") -> list[dict[str, Any]]:
    """A row for each method."""
    runs = {method: compiled(method, size, precision) for method in methods}
    times: dict[str, list[float]] = {method: [] for method in methods}
    for index in range(rounds + 1):
        for method in methods if index % 2 else reversed(methods):
            began = time.process_time()
            runs[method]()
            times[method].append(1e3 * (time.process_time() - began))
    found = {method: float(np.percentile(values[1:], _PERCENTILE)) for method, values in times.items()}
    base = found[methods[0]]
    kept = {"size": size, "precision": precision, "rounds": rounds}
    return [
        {"method": method, **kept, "cpu_ms": round(ms, 2), "ratio": round(ms / base, 2)} for method, ms in found.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--precision", choices=["fp32", "int8"], default="fp32")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for row in measure(tuple(arguments.methods), arguments.size, arguments.rounds, arguments.precision):
        print(json.dumps(row))
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
