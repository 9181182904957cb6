"""Bundle + run → the INT8 graph of the bundle: quantise first, fit on what the quantised backbone sees, gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from edge_ad.bundle import Bundle
from edge_ad.calibration.backbone_form import BACKBONE_FORM
from edge_ad.calibration.calibration_set import CalibrationSet, calibration_set
from edge_ad.calibration.engines import open_graph
from edge_ad.calibration.gate import GateLimits
from edge_ad.calibration.layers import int8_candidates, is_backbone
from edge_ad.calibration.range_rules import RangeChoice, describe_choice
from edge_ad.calibration.sensitivity import LayerSensitivity
from edge_ad.errors import BundleError
from edge_ad.export.gated_graph import (
    describe_engine,
    graph_source,
    is_from_present_fp32,
    own_threshold,
    read_report,
    report_bytes,
)
from edge_ad.export.int8_refit import HeldImages
from edge_ad.export.int8_search import Int8Search, Listeners
from edge_ad.export.precision_page import render_precision_page
from edge_ad.export.precision_report import describe_graph, describe_search
from edge_ad.manifest import GraphInfo
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
Count = Callable[[int, int], None]


@dataclass(frozen=True)
class CalibrationOptions:
    """How to make an INT8 graph.

    Attributes:
        backend: Backend whose engine must pass the gate.
        rule: How ranges follow from histograms; ``auto`` has one rule for a backbone and one for what follows it.
        limits: What the engine may lose against FP32.
        calibration_images: Folder of the user's own images to measure ranges on; None for those of the run.
    """

    backend: str
    rule: RangeChoice = "auto"
    limits: GateLimits = field(default_factory=GateLimits)
    calibration_images: Path | None = None


def has_int8_graph(bundle: Bundle) -> bool:
    """Whether the bundle has an INT8 graph of today's form, made from its present FP32 graph, whatever the options."""
    form = _form(bundle)
    return is_from_present_fp32(bundle, "int8") and form.items() <= read_int8_report(bundle).get("source", {}).items()


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
    run: Run, bundle: Bundle, options: CalibrationOptions, say: Say = lambda text: None, count: Count | None = None
) -> Bundle:
    """Add an INT8 graph that passed the accuracy gate, and the report on it as JSON and as a page.

    Ranges come from the calibration images only, the threshold from the threshold images and the INT8 engine itself;
    the gate compares on both and on pseudo-defects made of them.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle.
        options: How.
        say: Told about each step.
        count: Told how many layers were analysed, and of how many, where the gate asks for it.

    Raises:
        BundleError: The method has no layer that gains from INT8.
        DataError: The calibration images cannot be used.
        QualityGateError: The gate fails even with a single layer in INT8; the bundle is as it was.
    """
    images, model = _images(run, bundle, options), _float_graph(bundle)
    search, held = _search(run, bundle, model, options, images, _listeners(say, count))
    found = search.run(options.limits)
    with open_graph(found.graph, options.backend, "int8", bundle.graph("fp32").threshold) as engine:
        threshold = own_threshold(engine, held.threshold)
        description = describe_engine(engine.describe())
    document = {
        "source": _source(bundle, options, images),
        "engine": description,
        "calibration": {"images": len(images.paths), "chosen": images.words, "ranges": _ranges(model, options)},
        **describe_graph(model, found),
        **describe_search(search.reference, found),
        "latency": search.costs(found),
        "sensitivity": [asdict(item) for item in search.sensitivity],
    }
    info = GraphInfo(file=_GRAPH_FILE, threshold=threshold, gate=found.report)
    return _with_report(bundle, info, document, {_GRAPH_FILE: found.graph.SerializeToString()})


def add_sensitivity(
    run: Run, bundle: Bundle, options: CalibrationOptions, say: Say = lambda text: None, count: Count | None = None
) -> Bundle:
    """Measure what each layer does alone, as far as it has not been, and add it to the report on the INT8 graph.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle, with an INT8 graph made with these options.
        options: How it was made.
        say: Told about each step.
        count: Told how many layers are done, and of how many.

    Raises:
        DataError: The calibration images cannot be used.
    """
    document, model = read_int8_report(bundle), _float_graph(bundle)
    known = [LayerSensitivity(**item) for item in document["sensitivity"]]
    if {item.layer for item in known} >= set(int8_candidates(model)):
        say("The sensitivity of every layer is known.")
        return bundle
    images = _images(run, bundle, options)
    search, _ = _search(run, bundle, model, options, images, _listeners(say, count))
    found = search.measure_sensitivity(known, document["fp32_on_gate_images"]["score_deviation"])
    document["sensitivity"] = [asdict(item) for item in found]
    return _with_report(bundle, bundle.graph("int8"), document, {})


def _search(
    run: Run,
    bundle: Bundle,
    model: ModelProto,
    options: CalibrationOptions,
    images: CalibrationSet,
    listeners: Listeners,
) -> tuple[Int8Search, HeldImages]:
    if not int8_candidates(model):
        raise BundleError(f"{run.method} has no layer that gains from INT8.", "Use its FP32 graph.")
    listeners.say(f"Ranges by {_ranges(model, options)} on {images.words}.")
    held = HeldImages.read(run.split, images.paths, bundle.manifest.input_size_hw)
    threshold = bundle.graph("fp32").threshold
    return Int8Search(run, model, held, options.backend, options.rule, threshold, listeners), held


def _listeners(say: Say, count: Count | None) -> Listeners:
    return Listeners(say) if count is None else Listeners(say, count)


def _float_graph(bundle: Bundle) -> ModelProto:
    return onnx.load_from_string(bundle.graph_bytes("fp32"))


def _images(run: Run, bundle: Bundle, options: CalibrationOptions) -> CalibrationSet:
    size_hw = bundle.manifest.input_size_hw
    return calibration_set(run.split, run.product_root, size_hw, options.calibration_images, run.folders)


def _source(bundle: Bundle, options: CalibrationOptions, images: CalibrationSet) -> dict[str, Any]:
    common = graph_source(bundle, options.backend, options.limits, images.identity)
    return {**common, "rule": options.rule, **_form(bundle)}


def _form(bundle: Bundle) -> dict[str, str]:
    """What the INT8 form of the graph's backbone is called; empty without one."""
    return {"backbone": BACKBONE_FORM} if _has_int8_backbone(_float_graph(bundle)) else {}


def _has_int8_backbone(model: ModelProto) -> bool:
    return any(map(is_backbone, int8_candidates(model)))


def _ranges(model: ModelProto, options: CalibrationOptions) -> str:
    return describe_choice(options.rule, has_backbone=_has_int8_backbone(model))


def _with_report(bundle: Bundle, info: GraphInfo, document: dict[str, Any], files: dict[str, bytes]) -> Bundle:
    written: dict[str, Any] = {
        _REPORT_FILE: report_bytes(document),
        _PAGE_FILE: render_precision_page(bundle.manifest, document).encode(),
    }
    return bundle.with_graph("int8", info, files | written)
