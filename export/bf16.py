"""The graphs of a bundle, with what is float in them in bfloat16: gated, and given a threshold of their own.

bfloat16 keeps float32's range and 8 of its 24 bits. Processors that multiply it (AMX, AVX512-BF16) are much faster in
it, and OpenVINO would take it unasked; here it is a precision like the others, which the accuracy gate decides on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import onnx

from edge_ad import __version__
from edge_ad.bundle import Bundle
from edge_ad.calibration.engines import open_graph
from edge_ad.calibration.gate import GateData, GateLimits, GateReference, describe_checks, failed_checks, judge
from edge_ad.calibration.graph_runner import graph_predictor
from edge_ad.errors import DeviceError, QualityGateError
from edge_ad.export.gated_graph import own_threshold, read_report, report_bytes
from edge_ad.images import read_resized
from edge_ad.manifest import BF16_OF, GateReport, GraphInfo, Precision, Threshold
from edge_ad.runtime.availability import probe_backend
from edge_ad.runtime.choice import precision_problem
from edge_ad.training.runs import Run

__all__ = ["BACKEND", "Bf16Options", "add_bf16_graph", "has_bf16_graph", "is_bf16_current"]

BACKEND = "openvino"
"""The backend that has a bfloat16 mode."""

Base = Literal["fp32", "int8"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Bf16Options:
    """How to gate bfloat16.

    Attributes:
        base: Precision of the graph that is run in it.
        limits: What the engine may lose against FP32.
    """

    base: Base
    limits: GateLimits = field(default_factory=GateLimits)

    @property
    def precision(self) -> Precision:
        """Name of the result."""
        return BF16_OF[self.base]


def has_bf16_graph(bundle: Bundle, base: Base) -> bool:
    """Whether the bundle's present graph passed its gate in bfloat16, whatever the options."""
    return _recorded(bundle, BF16_OF[base]).get("graph") == bundle.graph_sha256(base)


def is_bf16_current(bundle: Bundle, options: Bf16Options) -> bool:
    """Whether the bundle's present graph passed its gate in bfloat16 with these options."""
    return _recorded(bundle, options.precision) == _source(bundle, options)


def add_bf16_graph(run: Run, bundle: Bundle, options: Bf16Options, say: Say = lambda text: None) -> Bundle:
    """Gate a graph of a bundle in bfloat16, on an OpenVINO engine.

    A gate that failed is recorded, and not run again while graph, backend and limits are the same.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle, with the graph ``options.base``.
        options: How.
        say: Told what the gate measured.

    Raises:
        BundleError: The bundle has no such graph.
        DeviceError: This processor has no bfloat16.
        QualityGateError: The gate fails; the bundle's graphs are as they were.
    """
    problem = precision_problem(BACKEND, options.precision)
    if problem:
        raise DeviceError(f"{options.precision} cannot be gated here: {problem}.", f"Use --precision {options.base}.")
    _refuse_again(bundle, options)
    report, threshold = _gate(run, bundle, options)
    say(f"{options.precision}: {describe_checks(report)}.")
    document = {"source": _source(bundle, options), "gate": report.model_dump()}
    files = {f"precision/{options.precision}.json": report_bytes(document)}
    if threshold is None:
        bundle.with_files(files)
        raise _failure(options, report)
    info = GraphInfo(file=bundle.graph(options.base).file, threshold=threshold, gate=report)
    return bundle.with_graph(options.precision, info, files)


def _gate(run: Run, bundle: Bundle, options: Bf16Options) -> tuple[GateReport, Threshold | None]:
    """The gate's report, and the engine's own threshold where it passed."""
    base = bundle.graph(options.base)
    float_model, model = (
        onnx.load_from_string(bundle.graph_path(name).read_bytes()) for name in ("fp32", options.base)
    )
    size_hw = bundle.manifest.input_size_hw
    calibrate, held_out = (read_resized(part, size_hw) for part in (run.split.calibrate, run.split.threshold))
    data = GateData.of(np.concatenate([calibrate, held_out]))
    reference = GateReference.of(data, graph_predictor(float_model))
    quantised = base.gate.quantised_layers if base.gate is not None else 0
    with open_graph(model, BACKEND, options.precision, base.threshold) as engine:
        report = judge(reference, engine.infer, options.limits, quantised_layers=quantised)
        return report, own_threshold(engine, held_out) if report.passed else None


def _refuse_again(bundle: Bundle, options: Bf16Options) -> None:
    name = f"precision/{options.precision}.json"
    if options.precision in bundle.manifest.graphs or name not in bundle.manifest.files:
        return
    document = json.loads((bundle.root / name).read_bytes())
    if document["source"] == _source(bundle, options):
        raise _failure(options, GateReport.model_validate(document["gate"]))


def _failure(options: Bf16Options, report: GateReport) -> QualityGateError:
    return QualityGateError(
        f"{options.precision} fails the accuracy gate: {failed_checks(report)}.",
        f"Use --precision {options.base}, or give --max-drop more room; the bundle's graphs are as they were.",
    )


def _recorded(bundle: Bundle, precision: Precision) -> dict[str, Any]:
    return dict(read_report(bundle, precision).get("source", {}))


def _source(bundle: Bundle, options: Bf16Options) -> dict[str, Any]:
    return {
        "edge-ad": __version__,
        "graph": bundle.graph_sha256(options.base),
        "backend": f"{BACKEND} {probe_backend(BACKEND).version}",
        "limits": asdict(options.limits),
    }
