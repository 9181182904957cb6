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
from edge_ad.evaluation.thresholds import fit_threshold
from edge_ad.images import read_resized
from edge_ad.manifest import BF16_OF, GraphInfo, Precision
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
    """Whether the bundle's present graph was gated in bfloat16, whatever the options."""
    return _recorded_source(bundle, BF16_OF[base]).get("graph") == bundle.graph_sha256(base)


def is_bf16_current(bundle: Bundle, options: Bf16Options) -> bool:
    """Whether the bundle's present graph was gated in bfloat16 with these options."""
    return _recorded_source(bundle, options.precision) == _source(bundle, options)


def add_bf16_graph(run: Run, bundle: Bundle, options: Bf16Options, say: Say = lambda text: None) -> Bundle:
    """Gate a graph of a bundle in bfloat16, on an OpenVINO engine.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle, with the graph ``options.base``.
        options: How.
        say: Told what the gate measured.

    Raises:
        BundleError: The bundle has no such graph.
        DeviceError: This processor has no bfloat16.
        QualityGateError: The gate fails; the bundle is as it was.
    """
    problem = precision_problem(BACKEND, options.precision)
    if problem:
        raise DeviceError(f"{options.precision} cannot be gated here: {problem}.", f"Use --precision {options.base}.")
    float_model, model = (
        onnx.load_from_string(bundle.graph_path(name).read_bytes()) for name in ("fp32", options.base)
    )
    size_hw = bundle.manifest.input_size_hw
    calibrate, held_out = (read_resized(part, size_hw) for part in (run.split.calibrate, run.split.threshold))
    data = GateData.of(np.concatenate([calibrate, held_out]))
    reference = GateReference.of(data, graph_predictor(float_model))
    base = bundle.graph(options.base)
    quantised = base.gate.quantised_layers if base.gate is not None else 0
    with open_graph(model, BACKEND, options.precision, base.threshold) as engine:
        report = judge(reference, engine.infer, options.limits, quantised_layers=quantised)
        say(f"{options.precision}: {describe_checks(report)}.")
        if not report.passed:
            raise QualityGateError(
                f"{options.precision} fails the accuracy gate: {failed_checks(report)}.",
                f"Use --precision {options.base}, or give --max-drop more room; the bundle is as it was.",
            )
        scores = [engine.infer(held_out[i : i + 1])[0].score for i in range(len(held_out))]
    info = GraphInfo(file=base.file, threshold=fit_threshold(np.array(scores)), gate=report)
    document = {"source": _source(bundle, options), "gate": report.model_dump()}
    files = {_report_file(options.precision): (json.dumps(document, indent=2) + "\n").encode()}
    return bundle.with_graph(options.precision, info, files)


def _report_file(precision: Precision) -> str:
    return f"precision/{precision}.json"


def _recorded_source(bundle: Bundle, precision: Precision) -> dict[str, Any]:
    name = _report_file(precision)
    if precision not in bundle.manifest.graphs or name not in bundle.manifest.files:
        return {}
    return dict(json.loads((bundle.root / name).read_bytes())["source"])


def _source(bundle: Bundle, options: Bf16Options) -> dict[str, Any]:
    return {
        "edge-ad": __version__,
        "graph": bundle.graph_sha256(options.base),
        "backend": f"{BACKEND} {probe_backend(BACKEND).version}",
        "limits": asdict(options.limits),
    }
