"""The FP16 recipe: choose the nodes on the calibration images, convert, gate."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_ad.bundle import Bundle
from edge_ad.calibration.fp16 import convert_to_fp16, round_tensors
from edge_ad.calibration.gate import describe_checks, failed_checks
from edge_ad.calibration.graph_runner import graph_predictor
from edge_ad.calibration.layers import LARGEST_MAGNITUDE, keep_in_fp32, measure_magnitudes
from edge_ad.calibration.qdq import QUANTISABLE
from edge_ad.errors import BundleError, QualityGateError
from edge_ad.export.recipes import Calibration, Made, Recipe
from edge_ad.manifest import Precision
from edge_ad.runtime.backend import get_backend

__all__ = ["Fp16Recipe"]



class Fp16Recipe(Recipe):
    """FP16 for the networks, FP32 for what judges and for what leaves the range of FP16.

    The graph must also pass with every FP16 tensor rounded, which the engines of a CPU leave out.
    """

    precision: Precision = "fp16"
    version = "nodes by modules, range and operator"

    def make(self, calibration: Calibration) -> Made:
        """Make it; see `Recipe.make`."""
        model, log, backend = calibration.model, calibration.listeners.log, self.backend(calibration.options)
        magnitudes = measure_magnitudes(model, (image[np.newaxis] for image in calibration.held.ranges))
        kept = keep_in_fp32(model, magnitudes, calibration.modules)
        layers = [node.name for node in model.graph.node if node.op_type in QUANTISABLE and node.name not in kept]
        if not layers:
            raise BundleError(f"{calibration.run.method} has no layer that gains from FP16.", "Use its FP32 graph.")
        log(f"{len(layers)} layers in FP16; {len(kept)} of {len(model.graph.node)} nodes stay in FP32.")
        graph, gate = convert_to_fp16(model, kept), calibration.gate(backend)
        rounded = gate.judge_predictor(graph_predictor(round_tensors(graph)))
        gated = gate.judge(graph, self.precision)
        log(f"FP16 in {gated.engine}: {describe_checks(gated.report)}.")
        log(f"With every FP16 tensor rounded: {describe_checks(rounded)}.")
        for checks in (gated.report, rounded):
            if not checks.passed:
                raise QualityGateError(
                    f"FP16 fails the accuracy gate: {failed_checks(checks)}.",
                    "Use FP32, or give --max-drop more room; the bundle's graphs are as they were.",
                    checks.model_dump(),
                )
        report = {
            "calibration": {"images": len(calibration.images.paths), "chosen": calibration.images.words},
            "engine": gated.engine,
            "arithmetic": get_backend(backend).fp16_arithmetic,
            "gate": gated.report.model_dump(),
            "gate_with_every_tensor_rounded": rounded.model_dump(),
            "largest_magnitude_allowed": LARGEST_MAGNITUDE,
            "largest_magnitude_measured": max(magnitudes.values()),
            "fp16_layers": layers,
            "fp32_nodes": kept,
        }
        return Made(graph, gated, report)

    def facts(self, bundle: Bundle, report: dict[str, Any]) -> dict[str, object]:
        """Layers, nodes and what ran."""
        return {
            "layers in FP16": len(report["fp16_layers"]),
            "nodes kept in FP32": f"{len(report['fp32_nodes'])} (each with its reason in precision/fp16.json)",
            "gated on": f"{report['engine']}; arithmetic: {report['arithmetic']}",
        }
