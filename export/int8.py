"""Bundle + run → the INT8 graph of the bundle: quantise first, fit on what the quantised backbone sees, gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from edge_ad.bundle import Bundle
from edge_ad.calibration.calibration_set import CalibrationSet, calibration_set
from edge_ad.calibration.engines import open_graph
from edge_ad.calibration.gate import GateLimits, judge
from edge_ad.calibration.gate_data import GateData, GateReference
from edge_ad.calibration.graph_runner import run_graph
from edge_ad.calibration.layers import int8_candidates
from edge_ad.calibration.quantiser import Quantiser
from edge_ad.calibration.ranges import RangeRule
from edge_ad.calibration.search import MixedPrecision, search_mixed_precision
from edge_ad.calibration.sensitivity import LayerSensitivity, SensitivityAnalysis
from edge_ad.errors import BundleError
from edge_ad.export.gated_graph import (
    describe_engine,
    graph_source,
    is_from_present_fp32,
    own_threshold,
    read_report,
    report_bytes,
)
from edge_ad.export.int8_latency import measure_costs
from edge_ad.export.int8_refit import HeldImages, RefittingQuantiser
from edge_ad.export.precision_page import render_precision_page
from edge_ad.export.precision_report import describe_graph, describe_search, with_sensitivity
from edge_ad.images import read_resized
from edge_ad.manifest import GateReport, GraphInfo
from edge_ad.training.runs import Run

__all__ = [
    "CalibrationOptions",
    "add_sensitivity",
    "calibrate_bundle",
    "has_int8_graph",
    "is_calibrated",
    "read_int8_report",
]

_GRAPH_FILE = "model.int8.onnx"
_REPORT_FILE = "precision/int8.json"
_PAGE_FILE = "precision/int8.html"

Say = Callable[[str], None]
Listen = Callable[[int, int], None]


@dataclass(frozen=True)
class CalibrationOptions:
    """How to make an INT8 graph.

    Attributes:
        backend: Backend whose engine must pass the gate.
        rule: How ranges follow from histograms.
        limits: What the engine may lose against FP32.
        calibration_images: Folder of the user's own images to measure ranges on; None for those of the run.
    """

    backend: str
    rule: RangeRule = "percentile"
    limits: GateLimits = field(default_factory=GateLimits)
    calibration_images: Path | None = None


def has_int8_graph(bundle: Bundle) -> bool:
    """Whether the bundle has an INT8 graph that was made from its present FP32 graph, whatever the options."""
    return is_from_present_fp32(bundle, "int8")


def is_calibrated(run: Run, bundle: Bundle, options: CalibrationOptions) -> bool:
    """Whether the bundle's INT8 graph was made from its present FP32 graph with these options and images.

    Raises:
        DataError: The calibration images cannot be used.
    """
    return bool(read_int8_report(bundle).get("source") == _source(bundle, options, _images(run, bundle, options)))


def read_int8_report(bundle: Bundle) -> dict[str, Any]:
    """The report on the bundle's INT8 graph; empty where it has none."""
    return read_report(bundle, "int8")


def calibrate_bundle(
    run: Run,
    bundle: Bundle,
    options: CalibrationOptions,
    say: Say = lambda text: None,
    listen: Listen = lambda done, total: None,
) -> Bundle:
    """Add an INT8 graph that passed the accuracy gate, and the report on it as JSON and as a page.

    Ranges come from the calibration images only, the threshold from the threshold images and the INT8 engine itself;
    the gate compares on both and on pseudo-defects made of them.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle.
        options: How.
        say: Told about each step.
        listen: Told how many layers were analysed, and of how many, where the gate asks for it.

    Raises:
        BundleError: The method has no layer that gains from INT8.
        DataError: The calibration images cannot be used.
        QualityGateError: The gate fails even with a single layer in INT8; the bundle is as it was.
    """
    images = _images(run, bundle, options)
    calibration = _Calibration(run, bundle, options, images, say, listen)
    found = calibration.search()
    with open_graph(found.graph, options.backend, "int8", bundle.graph("fp32").threshold) as engine:
        threshold = own_threshold(engine, calibration.held.threshold)
        description = describe_engine(engine.describe())
    document = {
        "source": _source(bundle, options, images),
        "engine": description,
        "calibration": {"images": len(images.paths), "chosen": images.words, "ranges": options.rule},
        **describe_graph(calibration.model, found),
        **describe_search(calibration.reference, found),
        "latency": calibration.costs(found),
    }
    document = with_sensitivity(document, calibration.analysis.found)
    return _with_report(bundle, GraphInfo(file=_GRAPH_FILE, threshold=threshold, gate=found.report), document, found)


def add_sensitivity(
    run: Run,
    bundle: Bundle,
    options: CalibrationOptions,
    say: Say = lambda text: None,
    listen: Listen = lambda done, total: None,
) -> Bundle:
    """Measure what each layer does alone, as far as it has not been, and add it to the report on the INT8 graph.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle, with an INT8 graph made with these options.
        options: How it was made.
        say: Told about each step.
        listen: Told how many layers are done, and of how many.

    Raises:
        DataError: The calibration images cannot be used.
    """
    document = read_int8_report(bundle)
    known = [LayerSensitivity(**item) for item in document["sensitivity"]]
    model = onnx.load_from_string(bundle.graph_path("fp32").read_bytes())
    candidates = int8_candidates(model)
    if {item.layer for item in known} >= set(candidates):
        say("The sensitivity of every layer is known.")
        return bundle
    calibration = _Calibration(run, bundle, options, _images(run, bundle, options), say, listen, known)
    calibration.rank()
    document = with_sensitivity(document, calibration.analysis.found)
    return _with_report(bundle, bundle.graph("int8"), document)


class _Calibration:
    """One calibration: its images, FP32's answers on them, and what was measured so far."""

    def __init__(
        self,
        run: Run,
        bundle: Bundle,
        options: CalibrationOptions,
        images: CalibrationSet,
        say: Say,
        listen: Listen,
        known: list[LayerSensitivity] | None = None,
    ) -> None:
        self.model: ModelProto = onnx.load_from_string(bundle.graph_path("fp32").read_bytes())
        self._layers = int8_candidates(self.model)
        if not self._layers:
            raise BundleError(f"{run.method} has no layer that gains from INT8.", "Use its FP32 graph.")
        self._options, self._say, self._threshold = options, say, bundle.graph("fp32").threshold
        say(f"Ranges by {options.rule} on {images.words}.")
        parts = (run.split.fit, run.split.calibrate, run.split.threshold, images.paths)
        self.held = HeldImages(*(read_resized(part, bundle.manifest.input_size_hw) for part in parts))
        self._quantiser = RefittingQuantiser(run.detector, self.model, self._layers, self.held, options.rule, say)
        data = GateData.of(self.held.held_out)
        self.reference = GateReference.of(data, lambda images: run_graph(self.model, images))
        plain: Quantiser = self._quantiser.plain
        self.analysis = SensitivityAnalysis(self.reference, plain.quantise, known=known or (), listen=listen)

    def search(self) -> MixedPrecision:
        return search_mixed_precision(self._layers, self._quantiser.quantise, self._judge, self.rank, self._say)

    def rank(self) -> list[str]:
        """All layers, the most sensitive first."""
        self._say(f"Measuring what each of {len(self._layers)} layers does alone.")
        return [item.layer for item in self.analysis.measure(self._layers)]

    def costs(self, found: MixedPrecision) -> dict[str, Any]:
        if not found.returned:
            return {}
        self._say("Timing what the layers in float cost.")
        return measure_costs(found, self._quantiser.plain, self.model, self._options.backend, self._threshold)

    def _judge(self, graph: ModelProto, quantised: int, returned: Any) -> GateReport:
        with open_graph(graph, self._options.backend, "int8", self._threshold) as engine:
            return judge(
                self.reference, engine.infer, self._options.limits, quantised_layers=quantised, float_layers=returned
            )


def _images(run: Run, bundle: Bundle, options: CalibrationOptions) -> CalibrationSet:
    size_hw = bundle.manifest.input_size_hw
    return calibration_set(run.split, run.product_root, size_hw, options.calibration_images)


def _source(bundle: Bundle, options: CalibrationOptions, images: CalibrationSet) -> dict[str, Any]:
    common = graph_source(bundle, options.backend, options.limits, images.identity)
    return {**common, "rule": options.rule}


def _with_report(
    bundle: Bundle, info: GraphInfo, document: dict[str, Any], found: MixedPrecision | None = None
) -> Bundle:
    files: dict[str, Any] = {
        _REPORT_FILE: report_bytes(document),
        _PAGE_FILE: render_precision_page(bundle.manifest, document).encode(),
    }
    if found is not None:
        files[_GRAPH_FILE] = found.graph.SerializeToString()
    return bundle.with_graph("int8", info, files)
