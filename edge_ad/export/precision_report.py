"""The precision report as a record: which layers are INT8, which are not and why, and what the gate said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import ModelProto

from edge_ad.calibration.gate import failed_checks
from edge_ad.calibration.gate_data import GateReference
from edge_ad.calibration.layers import float_reasons
from edge_ad.calibration.search import GateStep, MixedPrecision
from edge_ad.export.tensorrt.convolutions import convolution_macs

__all__ = ["describe_graph", "describe_search"]


def describe_graph(model: ModelProto, found: MixedPrecision) -> dict[str, Any]:
    """Where the arithmetic of a graph is.

    Args:
        model: The float graph.
        found: What became of it.

    Returns:
        ``int8_layers``; ``float_layers``, those that stayed in float from the start: layer → why; and ``macs``:
        multiply-accumulates of the convolutions for one image, ``total``, ``int8`` share in [0, 1], and by layer.
    """
    macs = convolution_macs(model)
    total = sum(macs.values())
    return {
        "int8_layers": list(found.layers),
        "float_layers": float_reasons(model),
        "macs": {
            "total": total,
            "int8_share": sum(macs.get(layer, 0) for layer in found.layers) / max(total, 1),
            "layers": macs,
        },
    }


def describe_search(reference: GateReference, found: MixedPrecision) -> dict[str, Any]:
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
