"""The graphs of a bundle, with what is float in them in bfloat16: gated, and given a threshold of their own.

bfloat16 keeps float32's range and 8 of its 24 bits. Processors that multiply it (AMX, AVX512-BF16) are much faster in
it, and OpenVINO would take it unasked; here it is a precision like the others. What is sensitive stays in float32, what
is fitted on features is fitted on those of the backbone as it is then, and the accuracy gate decides.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_ad import __version__
from edge_ad.bundle import Bundle
from edge_ad.calibration.gate import GateLimits, failed_checks
from edge_ad.errors import DeviceError, QualityGateError
from edge_ad.export.bf16_search import BACKEND, Base, Bf16Search, Say
from edge_ad.export.gated_graph import read_report, report_bytes
from edge_ad.manifest import BF16_OF, GateReport, GraphInfo, Precision
from edge_ad.runtime.backend import get_backend, probe_backend
from edge_ad.training.runs import Run

__all__ = ["BACKEND", "Bf16Options", "add_bf16_graph", "has_bf16_graph", "is_bf16_current"]

# A graph of another form is made again.
_FORM = "start in float32, weights by error feedback, fitted again, transposed late, whole blocks, positions as groups"


@dataclass(frozen=True)
class Bf16Options:
    """How to gate bfloat16.

    Attributes:
        base: Precision of the graph that is run in it.
        limits: What the engine may lose against FP32.
        calibration_images: Folder of the user's own images, on which INT8 layers were calibrated; None for the run's.
    """

    base: Base
    limits: GateLimits = field(default_factory=GateLimits)
    calibration_images: Path | None = None

    @property
    def precision(self) -> Precision:
        """Name of the result."""
        return BF16_OF[self.base]


def has_bf16_graph(bundle: Bundle, base: Base) -> bool:
    """Whether the bundle's present graph passed its gate in bfloat16, whatever the options."""
    recorded = _recorded(bundle, BF16_OF[base])
    return (recorded.get("form"), recorded.get("graph")) == (_FORM, bundle.graph_sha256(base))


def is_bf16_current(bundle: Bundle, options: Bf16Options) -> bool:
    """Whether the bundle's present graph passed its gate in bfloat16 with these options."""
    return _recorded(bundle, options.precision) == _source(bundle, options)


def add_bf16_graph(run: Run, bundle: Bundle, options: Bf16Options, say: Say = lambda text: None) -> Bundle:
    """Add a graph of a bundle in bfloat16 that passed the accuracy gate on an OpenVINO engine.

    A gate that failed is recorded, and not run again while graph, backend and limits are the same.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle, with the graph ``options.base``.
        options: How.
        say: Told about each step.

    Raises:
        BundleError: The bundle has no such graph.
        DeviceError: This processor has no bfloat16.
        QualityGateError: The gate fails; the bundle's graphs are as they were.
    """
    problem = get_backend(BACKEND).precision_problem(options.precision)
    if problem:
        raise DeviceError(f"{options.precision} cannot be gated here: {problem}.", f"Use --precision {options.base}.")
    _refuse_again(bundle, options)
    found = Bf16Search(run, bundle, options.base, options.calibration_images, say).run(options.limits)
    document = {"source": _source(bundle, options), "float32": found.float32, "gate": found.report.model_dump()}
    files = {f"precision/{options.precision}.json": report_bytes(document)}
    if found.threshold is None:
        bundle.with_files(files)
        raise _failure(options, found.report)
    name = bundle.graph(options.base).file
    if found.model is not None:
        name = f"model.{options.precision}.onnx"
        files[name] = found.model.SerializeToString()
    info = GraphInfo(file=name, threshold=found.threshold, gate=found.report, float32=found.float32)
    return bundle.with_graph(options.precision, info, files)


def _refuse_again(bundle: Bundle, options: Bf16Options) -> None:
    name = f"precision/{options.precision}.json"
    if options.precision in bundle.manifest.graphs or name not in bundle.manifest.files:
        return
    try:
        document = json.loads(bundle.read_file(name))
        report = GateReport.model_validate(document["gate"])
        source = document["source"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return  # damaged: it is made again
    # The report of one that passed stays behind when its base is made again.
    if not report.passed and source == _source(bundle, options):
        raise _failure(options, report)


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
        "form": _FORM,
        "graph": bundle.graph_sha256(options.base),
        "backend": f"{BACKEND} {probe_backend(BACKEND).version}",
        "limits": asdict(options.limits),
    }
