"""Post-training quantisation by NNCF beside the INT8 recipe: the accuracy gate, the test images, and the time of both.

    python -m benchmarks.nncf_comparison runs/<product>/<method>-0... --python nncf/bin/python --out nncf.jsonl

``--python`` is the interpreter of an environment with nncf, onnx and onnxruntime; edge-ad need not be there. NNCF gets
the same float graph, the same calibration images and the same choice of layers, and is asked for the form that TensorRT
takes: symmetric, int8 throughout, float biases. As in the recipe, what is fitted on features is fitted again on those
of the INT8 backbone. Each run gives a row; ``cpu_seconds`` are of all processes until the gate has spoken. Nothing
is returned to float for NNCF: a row says whether the gate takes its graph as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from edge_ad.calibration.gate import Gated
    from edge_ad.evaluation.results import Evaluation
    from edge_ad.export.recipes import Calibration
    from edge_ad.runtime.engine import Engine

METRICS = ("image_auroc", "pixel_auroc", "pro")
_FLOAT, _FRAMES, _LAYERS, _INT8 = "float.onnx", "frames.npy", "layers.json", "int8.onnx"


def quantise_here(folder: Path, *, exact_bias: bool = False) -> None:
    """What runs in the environment of NNCF: from the files in a folder to a quantised graph beside them."""
    nncf, onnx = import_module("nncf"), import_module("onnx")
    advanced = import_module("nncf.quantization.advanced_parameters")
    spaces = import_module("nncf.common.hardware.qspaces")
    model, frames = onnx.load(folder / _FLOAT), np.load(folder / _FRAMES)
    layers = set(json.loads((folder / _LAYERS).read_text()))
    name = model.graph.input[0].name
    for space in (spaces.q8_a, spaces.q8_a_ch, spaces.q8_a_sym):
        # NNCF takes uint8 for what is never negative, which TensorRT refuses, and no option asks for int8 there.
        object.__setattr__(space, "signedness_to_force", True)
    symmetric = advanced.QuantizationParameters(mode=advanced.QuantizationMode.SYMMETRIC, per_channel=False)
    quantised = nncf.quantize(
        model,
        nncf.Dataset([{name: frame[np.newaxis]} for frame in frames]),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(frames),
        fast_bias_correction=not exact_bias,
        ignored_scope=nncf.IgnoredScope(
            names=[node.name for node in model.graph.node if node.name not in layers], validate=False
        ),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.DISABLE, activations_quantization_params=symmetric
        ),
    )
    onnx.save(quantised, folder / _INT8)


def quantise(
    python: Path, model: ModelProto, layers: Sequence[str], frames: NDArray[np.uint8], *, exact_bias: bool = False
) -> ModelProto:
    """A float graph with some layers in INT8, made by NNCF in its own environment.

    Args:
        python: Interpreter there.
        model: Deploy graph.
        layers: Names of the layers.
        frames: Calibration images, uint8 (N, H, W, 3).
        exact_bias: Correct biases layer after layer, not by the shift of each layer alone.

    Raises:
        subprocess.CalledProcessError: It failed; ``stderr`` says why.
    """
    import onnx

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / _FLOAT)
        np.save(folder / _FRAMES, frames)
        (folder / _LAYERS).write_text(json.dumps(list(layers)))
        command = [str(python), __file__, "--quantise", str(folder), *(["--exact-bias"] if exact_bias else [])]
        subprocess.run(command, check=True, capture_output=True, text=True)
        return onnx.load(folder / _INT8)


def nncf_graph(calibration: Calibration, by_nncf: Callable[[ModelProto], ModelProto]) -> ModelProto:
    """The graph of a run whose layers NNCF quantised, with what is fitted on features fitted on those of this form."""
    import torch

    from edge_ad.calibration.graph_runner import backbone_features
    from edge_ad.calibration.layers import backbone_output
    from edge_ad.export.onnx_export import export_onnx
    from edge_ad.training.preparation import refit

    quantised, modules, held = by_nncf(calibration.model), calibration.modules, calibration.held
    if not modules.backbone:
        return quantised
    output = backbone_output(calibration.model, modules)
    refitted = refit(
        calibration.run,
        held.fit,
        held.calibrate,
        lambda images: torch.from_numpy(backbone_features(quantised, output, images)),
    )
    return by_nncf(export_onnx(refitted))


def compare(root: Path, python: Path, backend: str, *, exact_bias: bool = False) -> dict[str, Any]:
    """The row of a run, whose bundle is exported first where that is needed."""
    from edge_ad.calibration.layers import int8_candidates
    from edge_ad.errors import QualityGateError
    from edge_ad.export.bundle_export import export_run, is_current
    from edge_ad.export.int8 import Int8Recipe
    from edge_ad.export.recipes import Calibration, RecipeOptions
    from edge_ad.training.runs import load_run

    run = load_run(root)
    bundle = is_current(run) or export_run(run, lambda text: None)
    calibration = Calibration(run, bundle, RecipeOptions(backend))
    layers, frames = int8_candidates(calibration.model, calibration.modules), calibration.held.ranges
    began = _cpu_seconds()
    try:
        made = Int8Recipe().make(calibration)
    except QualityGateError as error:
        return {"product": run.product_root.name, "method": run.method, "refused": error.message}
    ours_seconds, began = _cpu_seconds() - began, _cpu_seconds()
    graph = nncf_graph(calibration, lambda model: quantise(python, model, layers, frames, exact_bias=exact_bias))
    gated = calibration.gate(backend).judge(graph, "int8", quantised_layers=len(layers))
    nncf_seconds = _cpu_seconds() - began
    assert made.graph is not None
    return {
        "product": run.product_root.name,
        "method": run.method,
        "backend": backend,
        "bias": "exact" if exact_bias else "fast",
        "layers": len(layers),
        "ours": _described(made.gated, ours_seconds, made.graph),
        "nncf": _described(gated, nncf_seconds, graph),
        **_measured(calibration, backend, {"ours": made.graph, "nncf": graph}),
    }


def _cpu_seconds() -> float:
    """Of this process and of those it has waited for."""
    return sum(os.times()[:4])


def _described(gated: Gated, seconds: float, graph: ModelProto) -> dict[str, Any]:
    from edge_ad.calibration.gate import failed_checks
    from edge_ad.export.tensorrt.qdq_check import qdq_problems

    return {
        "passed": gated.report.passed,
        "failed": failed_checks(gated.report),
        "gate": {name: round(value, 5) for name, value in gated.report.checks.items()},
        "returned": len(gated.report.float_layers),
        "cpu_seconds": round(seconds, 1),
        "tensorrt_problems": len(qdq_problems(graph)),
    }


def _measured(calibration: Calibration, backend: str, graphs: dict[str, ModelProto]) -> dict[str, Any]:
    """Both on the test images beside FP32, the noise of their features, and their latency in turns."""
    from edge_ad.calibration.graph_runner import open_graph
    from edge_ad.calibration.latency import interleaved_medians

    frame, threshold = calibration.held.ranges[:1], calibration.bundle.graph("fp32").threshold
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(open_graph(graph, backend, "fp32" if name == "fp32" else "int8", threshold))
            for name, graph in {"fp32": calibration.model, **graphs}.items()
        }
        times = interleaved_medians({name: partial(engine.infer, frame) for name, engine in engines.items()})
        test = _on_test_images(calibration, engines)
    return {
        "test": test,
        "feature_db": _noise(calibration, graphs),
        "latency_ms": {name: round(found.median_ms, 2) for name, found in times.items()},
    }


def _on_test_images(calibration: Calibration, engines: dict[str, Engine]) -> dict[str, dict[str, float]]:
    from edge_ad.data.products import open_product
    from edge_ad.evaluation.evaluate import evaluate
    from edge_ad.runtime.parity import map_correlation

    run, photos = calibration.run, calibration.run.split.photos
    # Photos of another shape than those that were trained on are left out, as `edge-ad evaluate` can do.
    product = open_product(run.product_root, run.folders, part="test", skip_unreadable=True, photos=photos)
    found: dict[str, Evaluation] = {
        name: evaluate(engine.infer, product, calibration.bundle.manifest.input_size_hw, batch=1, photos=photos)
        for name, engine in engines.items()
    }
    exact = found["fp32"].maps
    return {
        name: {
            **{metric: round(one.metrics[metric], 5) for metric in METRICS},
            "map_correlation": round(
                float(np.mean([map_correlation(*pair) for pair in zip(exact, one.maps, strict=True)])), 5
            ),
        }
        for name, one in found.items()
    }


def _noise(calibration: Calibration, graphs: dict[str, ModelProto]) -> dict[str, list[float]]:
    """Signal to noise of the backbone's features, in dB: on held-out good photos, and under simulated defects."""
    from benchmarks.feature_noise import NoiseOnPhotos
    from edge_ad.calibration.graph_runner import backbone_features
    from edge_ad.calibration.layers import backbone_output

    if not calibration.modules.backbone:
        return {}
    output = backbone_output(calibration.model, calibration.modules)
    noise = NoiseOnPhotos(
        calibration.held.threshold, lambda photos: backbone_features(calibration.model, output, photos)
    )
    return {
        name: [round(value, 1) for value in noise.decibels(partial(backbone_features, graph, output))]
        for name, graph in graphs.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Append one line of JSON for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="with nncf; this one if not given")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--backend", default="openvino", choices=["openvino", "onnxruntime"])
    parser.add_argument("--exact-bias", action="store_true", help="NNCF's slower correction of biases")
    parser.add_argument("--quantise", type=Path, metavar="FOLDER", help="used by this script itself")
    chosen = parser.parse_args(arguments)
    if chosen.quantise is not None:
        quantise_here(chosen.quantise, exact_bias=chosen.exact_bias)
        return
    for root in chosen.runs:
        row = compare(root, chosen.python, chosen.backend, exact_bias=chosen.exact_bias)
        print(json.dumps(row), flush=True)
        if chosen.out is not None:
            with chosen.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
