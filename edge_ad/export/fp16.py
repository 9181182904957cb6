"""Bundle + run → the FP16 graph of the bundle: choose its nodes on the calibration images, convert, gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.bundle import Bundle
from edge_ad.calibration.calibration_set import CalibrationSet, calibration_set
from edge_ad.calibration.engines import open_graph
from edge_ad.calibration.fp16 import convert_to_fp16
from edge_ad.calibration.fp16_nodes import LARGEST_MAGNITUDE, keep_in_fp32, measure_magnitudes
from edge_ad.calibration.fp16_storage import round_tensors
from edge_ad.calibration.gate import GateLimits, describe_checks, failed_checks, judge
from edge_ad.calibration.gate_data import GateData, GateReference
from edge_ad.calibration.graph_runner import graph_predictor
from edge_ad.calibration.qdq import QUANTISABLE
from edge_ad.errors import BundleError, QualityGateError
from edge_ad.export.gated_graph import (
    describe_engine,
    graph_source,
    is_from_present_fp32,
    own_threshold,
    read_report,
    report_bytes,
)
from edge_ad.images import read_resized
from edge_ad.manifest import GateReport, GraphInfo, Threshold
from edge_ad.runtime.backend import get_backend
from edge_ad.training.runs import Run

__all__ = ["Fp16Options", "add_fp16_graph", "has_fp16_graph", "is_fp16_current", "read_fp16_report"]

_GRAPH_FILE = "model.fp16.onnx"
_REPORT_FILE = "precision/fp16.json"

Say = Callable[[str], None]
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Fp16Options:
    """How to make an FP16 graph.

    Attributes:
        backend: Backend whose engine must pass the gate.
        limits: What the engine may lose against FP32.
        calibration_images: Folder of the user's own images to measure magnitudes on; None for those of the run.
    """

    backend: str
    limits: GateLimits = field(default_factory=GateLimits)
    calibration_images: Path | None = None


@dataclass(frozen=True)
class _Outcome:
    report: GateReport
    rounded: GateReport
    threshold: Threshold
    engine: str


def has_fp16_graph(bundle: Bundle) -> bool:
    """Whether the bundle has an FP16 graph that was made from its present FP32 graph, whatever the options."""
    return is_from_present_fp32(bundle, "fp16")


def is_fp16_current(run: Run, bundle: Bundle, options: Fp16Options) -> bool:
    """Whether the bundle's FP16 graph was made from its present FP32 graph with these options and images.

    Raises:
        DataError: The calibration images cannot be used.
    """
    return bool(read_fp16_report(bundle).get("source") == _source(bundle, options, _images(run, bundle, options)))


def read_fp16_report(bundle: Bundle) -> dict[str, Any]:
    """The report on the bundle's FP16 graph; empty where it has none."""
    return read_report(bundle, "fp16")


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
        DataError: The calibration images cannot be used.
        QualityGateError: The gate fails; the bundle is as it was.
    """
    model = onnx.load_from_string(bundle.graph_bytes("fp32"))
    chosen, size_hw = _images(run, bundle, options), bundle.manifest.input_size_hw
    parts = (chosen.paths, run.split.calibrate, run.split.threshold)
    frames, calibrate, threshold = (read_resized(part, size_hw, run.split.photos) for part in parts)
    magnitudes = measure_magnitudes(model, (image[np.newaxis] for image in frames))
    kept = keep_in_fp32(model, magnitudes)
    graph = convert_to_fp16(model, kept)
    layers = [node.name for node in model.graph.node if node.op_type in QUANTISABLE and node.name not in kept]
    if not layers:
        raise BundleError(f"{run.method} has no layer that gains from FP16.", "Use its FP32 graph.")
    say(f"{len(layers)} layers in FP16; {len(kept)} of {len(model.graph.node)} nodes stay in FP32.")
    outcome = _gate(model, graph, calibrate, threshold, bundle.graph("fp32").threshold, options)
    _require_pass(outcome, say)
    document = {
        "source": _source(bundle, options, chosen),
        "calibration": {"images": len(chosen.paths), "chosen": chosen.words},
        **_findings(outcome, options.backend),
        "largest_magnitude_allowed": LARGEST_MAGNITUDE,
        "largest_magnitude_measured": max(magnitudes.values()),
        "fp16_layers": layers,
        "fp32_nodes": kept,
    }
    files: dict[str, Any] = {
        _GRAPH_FILE: graph.SerializeToString(),
        _REPORT_FILE: report_bytes(document),
    }
    info = GraphInfo(file=_GRAPH_FILE, threshold=outcome.threshold, gate=outcome.report)
    return bundle.with_graph("fp16", info, files)


def _require_pass(outcome: _Outcome, say: Say) -> None:
    say(f"FP16 in {outcome.engine}: {describe_checks(outcome.report)}.")
    say(f"With every FP16 tensor rounded: {describe_checks(outcome.rounded)}.")
    failed = [failed_checks(report) for report in (outcome.report, outcome.rounded) if not report.passed]
    if failed:
        raise QualityGateError(
            f"FP16 fails the accuracy gate: {failed[0]}.",
            "Use FP32, or give --max-drop more room; the bundle is as it was.",
        )


def _findings(outcome: _Outcome, backend: str) -> dict[str, Any]:
    return {
        "engine": outcome.engine,
        "arithmetic": get_backend(backend).fp16_arithmetic,
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
    reference = GateReference.of(GateData.of(np.concatenate([calibrate, held_out])), graph_predictor(model))
    rounded = judge(reference, graph_predictor(round_tensors(graph)), options.limits)
    with open_graph(graph, options.backend, "fp16", threshold) as engine:
        report = judge(reference, engine.infer, options.limits)
        passed = report.passed and rounded.passed  # scores of a graph that is broken may not be finite
        own = own_threshold(engine, held_out) if passed else threshold
        return _Outcome(report, rounded, own, describe_engine(engine.describe()))


def _images(run: Run, bundle: Bundle, options: Fp16Options) -> CalibrationSet:
    size_hw = bundle.manifest.input_size_hw
    return calibration_set(run.split, run.product_root, size_hw, options.calibration_images, run.folders)


def _source(bundle: Bundle, options: Fp16Options, images: CalibrationSet) -> dict[str, Any]:
    return graph_source(bundle, options.backend, options.limits, images.identity)
