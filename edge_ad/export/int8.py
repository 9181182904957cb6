"""The INT8 recipe: quantise first, fit on what the quantised backbone sees, and return to float what the gate asks for.

Ranges come from the calibration images only, the threshold from the threshold images and the INT8 engine itself; the
gate compares on both and on pseudo-defects made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

from onnx import ModelProto

from edge_ad.bundle import Bundle
from edge_ad.calibration.gate import Gated, GateReference, failed_checks
from edge_ad.calibration.graph_runner import graph_predictor
from edge_ad.calibration.latency import measure_costs
from edge_ad.calibration.layers import float_reasons, int8_candidates
from edge_ad.calibration.quantiser import BACKBONE_FORM
from edge_ad.calibration.ranges import describe_choice
from edge_ad.calibration.sensitivity import (
    FEW_IMAGES,
    GateStep,
    LayerSensitivity,
    MixedPrecision,
    SensitivityAnalysis,
    search_mixed_precision,
)
from edge_ad.errors import BundleError
from edge_ad.export.precision_page import render_precision_page
from edge_ad.export.recipes import Calibration, Made, Recipe, RecipeOptions, read_report, with_report
from edge_ad.export.refit import RefittingQuantiser
from edge_ad.export.tensorrt.listing import convolution_macs
from edge_ad.manifest import GateReport, Manifest, Precision

__all__ = ["Int8Recipe"]


class Int8Recipe(Recipe):
    """INT8 for as many layers as pass the gate."""

    precision: Precision = "int8"
    version = BACKBONE_FORM

    def settings(self, options: RecipeOptions) -> dict[str, Any]:
        """The rule of the ranges."""
        return {"rule": options.ranges}

    def make(self, calibration: Calibration) -> Made:
        """Make it; see `Recipe.make`."""
        search = _Search(calibration)
        calibration.listeners.log(f"Ranges by {search.ranges} on {calibration.images.words}.")
        found = search.run()
        gated = search.gated[found.returned]
        report = {
            "engine": gated.engine,
            "calibration": {
                "images": len(calibration.images.paths),
                "chosen": calibration.images.words,
                "ranges": search.ranges,
            },
            **_describe_graph(calibration, found),
            **_describe_search(search.reference, found),
            "latency": search.costs(found),
            "sensitivity": [asdict(item) for item in search.sensitivity],
        }
        return Made(found.graph, gated, report)

    def add_sensitivity(self, calibration: Calibration) -> Bundle:
        """Measure what each layer does alone, as far as it has not been, and add it to the report."""
        bundle, document = calibration.bundle, read_report(calibration.bundle, self.precision)
        known = [LayerSensitivity(**item) for item in document["sensitivity"]]
        if {item.layer for item in known} >= set(int8_candidates(calibration.model, calibration.modules)):
            calibration.listeners.log("The sensitivity of every layer is known.")
            return bundle
        found = _Search(calibration).measure(known, document["fp32_on_gate_images"]["score_deviation"])
        document["sensitivity"] = [asdict(item) for item in found]
        return with_report(self, bundle, bundle.graph(self.precision), document, {})

    def pages(self, manifest: Manifest, document: dict[str, Any]) -> dict[str, str]:
        """The report as a page; see `Recipe.pages`."""
        if "gate" not in document:  # it failed
            return {}
        return {"precision/int8.html": render_precision_page(manifest, document)}

    def facts(self, bundle: Bundle, report: dict[str, Any]) -> dict[str, object]:
        """Layers and ranges."""
        return {
            "layers in INT8": f"{len(report['int8_layers'])}, {report['macs']['int8_share']:.1%} of the convolutions' "
            "arithmetic",
            "returned to float": ", ".join(report["returned_layers"]),
            "ranges": f"{report['calibration']['ranges']} on {report['calibration']['chosen']}",
            "report": bundle.root / "precision" / "int8.html",
        }


class _Search:
    """One search: FP32's answers on the images of the gate, and what was measured so far."""

    def __init__(self, calibration: Calibration) -> None:
        self._model, self._options, self._listeners = calibration.model, calibration.options, calibration.listeners
        self._layers = int8_candidates(calibration.model, calibration.modules)
        if not self._layers:
            raise BundleError(f"{calibration.run.method} has no layer that gains from INT8.", "Use its FP32 graph.")
        has_backbone = any(map(calibration.modules.is_backbone, self._layers))
        self.ranges = describe_choice(self._options.ranges, has_backbone=has_backbone)
        self._gate = calibration.gate(self._options.backend)
        self._quantiser = RefittingQuantiser(
            calibration.run,
            calibration.model,
            self._layers,
            calibration.held,
            self._options.ranges,
            self._listeners.log,
        )
        self._threshold = calibration.bundle.graph("fp32").threshold
        self.gated: dict[tuple[str, ...], Gated] = {}
        self.sensitivity: list[LayerSensitivity] = []

    @cached_property
    def reference(self) -> GateReference:
        """FP32 on the images of the gate."""
        return self._gate.reference

    def run(self) -> MixedPrecision:
        """Search the layers that must be in float."""

        def rank() -> list[str]:
            return [item.layer for item in self._measure(self.reference.few(FEW_IMAGES), ())]

        return search_mixed_precision(self._layers, self._quantiser.quantise, self._judge, rank, self._listeners.log)

    def measure(self, known: Iterable[LayerSensitivity], spread: float) -> list[LayerSensitivity]:
        """What each layer does alone, the most sensitive first, without a search.

        Args:
            known: Layers that have been measured.
            spread: Standard deviation of the FP32 scores on all images of the gate.
        """
        few = self._gate.data.few(FEW_IMAGES)
        return self._measure(GateReference.of(few, graph_predictor(self._model), spread=spread), known)

    def costs(self, found: MixedPrecision) -> dict[str, Any]:
        """What the layers in float cost in latency, as `measure_costs` gives it; empty where there are none."""
        if not found.returned:
            return {}
        self._listeners.log("Timing what the layers in float cost.")
        return measure_costs(found, self._quantiser.plain, self._model, self._options.backend, self._threshold)

    def _judge(self, graph: ModelProto, quantised: int, returned: Sequence[str]) -> GateReport:
        gated = self._gate.judge(graph, "int8", quantised_layers=quantised, float_layers=returned)
        self.gated[tuple(returned)] = gated
        return gated.report

    def _measure(self, reference: GateReference, known: Iterable[LayerSensitivity]) -> list[LayerSensitivity]:
        self._listeners.log(f"Measuring what each of {len(self._layers)} layers does alone.")
        # In the float graph as it was trained: a fit on the features of each single layer would take minutes.
        quantise = self._quantiser.plain.quantise
        analysis = SensitivityAnalysis(reference, quantise, known=known, listen=self._listeners.count)
        self.sensitivity = analysis.measure(self._layers)
        return self.sensitivity


def _describe_graph(calibration: Calibration, found: MixedPrecision) -> dict[str, Any]:
    """Where the arithmetic of a graph is.

    Returns:
        ``int8_layers``; ``float_layers``, those that stayed in float from the start: layer → why; and ``macs``:
        multiply-accumulates of the convolutions for one image, ``total``, ``int8`` share in [0, 1], and by layer.
    """
    macs = convolution_macs(calibration.model)
    total = sum(macs.values())
    return {
        "int8_layers": list(found.layers),
        "float_layers": float_reasons(calibration.model, calibration.modules),
        "macs": {
            "total": total,
            "int8_share": sum(macs.get(layer, 0) for layer in found.layers) / max(total, 1),
            "layers": macs,
        },
    }


def _describe_search(reference: GateReference, found: MixedPrecision) -> dict[str, Any]:
    """What the gate compared on, every step it took, and why each layer went back to float."""
    labels = reference.data.labels
    return {
        "gate": found.report.model_dump(),
        "gate_images": {
            "good": int((~labels).sum()),
            "pseudo_defects": int(labels.sum()),
        },
        "fp32_on_gate_images": {**reference.metrics, "score_deviation": reference.spread},
        "steps": [_step(step) for step in found.steps],
        "returned_layers": {layer: _why(found.steps, index) for index, layer in enumerate(found.returned)},
    }


def _step(step: GateStep) -> dict[str, Any]:
    return {
        "returned": list(step.returned),
        "passed": step.report.passed,
        "checks": step.report.checks,
        "failed": failed_checks(step.report),
    }


def _why(steps: Sequence[GateStep], index: int) -> str:
    """The step with the most layers in float among those that failed while this one was in INT8."""
    failed = [step for step in steps if not step.report.passed and len(step.returned) <= index]
    last = max(failed, key=lambda step: len(step.returned))
    others = f" and {len(last.returned)} in float before it" if last.returned else ""
    return (
        f"number {index + 1} by noise at the map; with it in INT8{others} the gate failed: {failed_checks(last.report)}"
    )
