"""Bundle + run → the FP16 graph of the bundle: choose its nodes on the calibration images, convert, gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad import __version__
from edge_ad.bundle import Bundle
from edge_ad.calibration.engines import open_graph
from edge_ad.calibration.fp16 import convert_to_fp16
from edge_ad.calibration.fp16_nodes import LARGEST_MAGNITUDE, keep_in_fp32, measure_magnitudes
from edge_ad.calibration.fp16_storage import round_tensors
from edge_ad.calibration.gate import GateData, GateLimits, GateReference, describe_checks, failed_checks, judge
from edge_ad.calibration.graph_runner import run_graph
from edge_ad.calibration.qdq import QUANTISABLE
from edge_ad.errors import BundleError, QualityGateError
from edge_ad.evaluation.thresholds import fit_threshold
from edge_ad.images import read_resized
from edge_ad.manifest import GateReport, GraphInfo, Threshold
from edge_ad.runtime.availability import probe_backend
from edge_ad.runtime.base import EngineDescription
from edge_ad.training.runs import Run

__all__ = ["Fp16Options", "add_fp16_graph", "has_fp16_graph", "is_fp16_current", "read_fp16_report"]

_GRAPH_FILE = "model.fp16.onnx"
_REPORT_FILE = "precision/fp16.json"
_ARITHMETIC = {
    "openvino": "float32: weights are rounded to FP16, tensors between nodes are not",
    "onnxruntime": "float32 where ONNX Runtime has no FP16 kernel for this processor: weights are rounded to FP16, "
    "tensors between such nodes are not",
}

Say = Callable[[str], None]
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Fp16Options:
    """How to make an FP16 graph.

    Attributes:
        backend: Backend whose engine must pass the gate.
        limits: What the engine may lose against FP32.
    """

    backend: str
    limits: GateLimits = field(default_factory=GateLimits)


@dataclass(frozen=True)
class _Outcome:
    report: GateReport
    rounded: GateReport
    threshold: Threshold
    engine: EngineDescription


def has_fp16_graph(bundle: Bundle) -> bool:
    """Whether the bundle has an FP16 graph that was made from its present FP32 graph, whatever the options."""
    source = read_fp16_report(bundle).get("source", {})
    return bool(source.get("fp32") == bundle.graph_sha256("fp32"))


def is_fp16_current(bundle: Bundle, options: Fp16Options) -> bool:
    """Whether the bundle's FP16 graph was made from its present FP32 graph with these options."""
    return bool(read_fp16_report(bundle).get("source") == _source(bundle, options))


def read_fp16_report(bundle: Bundle) -> dict[str, Any]:
    """The report on the bundle's FP16 graph; empty where it has none."""
    if "fp16" not in bundle.manifest.graphs or _REPORT_FILE not in bundle.manifest.files:
        return {}
    return dict(json.loads((bundle.root / _REPORT_FILE).read_bytes()))


def add_fp16_graph(run: Run, bundle: Bundle, options: Fp16Options, say: Say = lambda text: None) -> Bundle:
    """Add an FP16 graph that passed the accuracy gate.

    Ranges come from the calibration images only, the threshold from the threshold images and the FP16 engine itself;
    the gate compares on both and on pseudo-defects made of them. The graph must also pass with every FP16 tensor
    rounded, which the engines of a CPU leave out.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle.
        options: How.
        say: Told about each step.

    Raises:
        BundleError: The method has no layer that gains from FP16.
        QualityGateError: The gate fails; the bundle is as it was.
    """
    model = onnx.load_from_string(bundle.graph_path("fp32").read_bytes())
    size_hw = bundle.manifest.input_size_hw
    calibrate, threshold = (read_resized(part, size_hw) for part in (run.split.calibrate, run.split.threshold))
    magnitudes = measure_magnitudes(model, (image[np.newaxis] for image in calibrate))
    kept = keep_in_fp32(model, magnitudes)
    graph = convert_to_fp16(model, kept)
    layers = [node.name for node in model.graph.node if node.op_type in QUANTISABLE and node.name not in kept]
    if not layers:
        raise BundleError(f"{run.method} has no layer that gains from FP16.", "Use its FP32 graph.")
    say(f"{len(layers)} layers in FP16; {len(kept)} of {len(model.graph.node)} nodes stay in FP32.")
    outcome = _gate(model, graph, calibrate, threshold, bundle.graph("fp32").threshold, options)
    _require_pass(outcome, say)
    document = {
        "source": _source(bundle, options),
        **_findings(outcome, options.backend),
        "largest_magnitude_allowed": LARGEST_MAGNITUDE,
        "largest_magnitude_measured": max(magnitudes.values()),
        "fp16_layers": layers,
        "fp32_nodes": kept,
    }
    files: dict[str, Any] = {
        _GRAPH_FILE: graph.SerializeToString(),
        _REPORT_FILE: (json.dumps(document, indent=2) + "\n").encode(),
    }
    info = GraphInfo(file=_GRAPH_FILE, threshold=outcome.threshold, gate=outcome.report)
    return bundle.with_graph("fp16", info, files)


def _require_pass(outcome: _Outcome, say: Say) -> None:
    say(f"FP16 in {_words(outcome.engine)}: {describe_checks(outcome.report)}.")
    say(f"With every FP16 tensor rounded: {describe_checks(outcome.rounded)}.")
    failed = [failed_checks(report) for report in (outcome.report, outcome.rounded) if not report.passed]
    if failed:
        raise QualityGateError(
            f"FP16 fails the accuracy gate: {failed[0]}.",
            "Use FP32, or give --max-drop more room; the bundle is as it was.",
        )


def _findings(outcome: _Outcome, backend: str) -> dict[str, Any]:
    return {
        "engine": _words(outcome.engine),
        "arithmetic": _ARITHMETIC[backend],
        "gate": outcome.report.model_dump(),
        "gate_with_every_tensor_rounded": outcome.rounded.model_dump(),
    }


def _gate(
    model: ModelProto,
    graph: ModelProto,
    calibrate: Images,
    held_out: Images,
    threshold: Threshold,
    options: Fp16Options,
) -> _Outcome:
    reference = GateReference.of(
        GateData.of(np.concatenate([calibrate, held_out])), lambda images: run_graph(model, images)
    )
    rounded_graph = round_tensors(graph)
    rounded = judge(reference, lambda images: run_graph(rounded_graph, images), options.limits)
    with open_graph(graph, options.backend, "fp16", threshold) as engine:
        report = judge(reference, engine.infer, options.limits)
        scores = [engine.infer(held_out[i : i + 1])[0].score for i in range(len(held_out))]
        passed = report.passed and rounded.passed  # scores of a graph that is broken may not be finite
        return _Outcome(report, rounded, fit_threshold(np.array(scores)) if passed else threshold, engine.describe())


def _words(engine: EngineDescription) -> str:
    return f"{engine.backend} {engine.version}, {engine.device}"


def _source(bundle: Bundle, options: Fp16Options) -> dict[str, Any]:
    """What an FP16 graph depends on, beside the images, which the FP32 graph stands for."""
    return {
        "edge-ad": __version__,
        "fp32": bundle.graph_sha256("fp32"),
        "backend": f"{options.backend} {probe_backend(options.backend).version}",
        "limits": asdict(options.limits),
    }
