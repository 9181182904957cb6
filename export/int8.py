"""Bundle + run → the INT8 graph of the bundle: quantise first, fit on what the quantised backbone sees, gate."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad import __version__
from edge_ad.bundle import Bundle
from edge_ad.calibration.engines import open_graph
from edge_ad.calibration.gate import GateData, GateLimits, GateReference, describe_checks, failed_checks, judge
from edge_ad.calibration.graph_runner import run_graph
from edge_ad.calibration.layers import BACKBONE, LayerGroup, layer_groups
from edge_ad.calibration.qdq import insert_qdq, quantisable_layers
from edge_ad.calibration.ranges import RangeRule, measure_histograms
from edge_ad.calibration.sensitivity import noise_by_group
from edge_ad.calibration.subgraph import backbone_features, backbone_output
from edge_ad.errors import BundleError, QualityGateError
from edge_ad.evaluation.thresholds import fit_threshold
from edge_ad.export.onnx_export import export_onnx
from edge_ad.images import read_resized
from edge_ad.manifest import GateReport, GraphInfo
from edge_ad.runtime.availability import probe_backend
from edge_ad.training.runs import Run

__all__ = ["CalibrationOptions", "calibrate_bundle", "has_int8_graph", "is_calibrated"]

_GRAPH_FILE = "model.int8.onnx"
_REPORT_FILE = "precision/int8.json"
_SENSITIVITY_IMAGES = 8

Say = Callable[[str], None]
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class CalibrationOptions:
    """How to make an INT8 graph.

    Attributes:
        backend: Backend whose engine must pass the gate.
        rule: How ranges follow from histograms.
        limits: What the engine may lose against FP32.
    """

    backend: str
    rule: RangeRule = "percentile"
    limits: GateLimits = field(default_factory=GateLimits)


@dataclass(frozen=True)
class _Held:
    """Images of the split, uint8 (N, H, W, 3)."""

    fit: Images
    calibrate: Images
    threshold: Images


def has_int8_graph(bundle: Bundle) -> bool:
    """Whether the bundle has an INT8 graph that was made from its present FP32 graph, whatever the options."""
    return _recorded_source(bundle).get("fp32") == bundle.graph_sha256("fp32")


def is_calibrated(bundle: Bundle, options: CalibrationOptions) -> bool:
    """Whether the bundle's INT8 graph was made from its present FP32 graph with these options."""
    return _recorded_source(bundle) == _source(bundle, options)


def _recorded_source(bundle: Bundle) -> dict[str, Any]:
    if "int8" not in bundle.manifest.graphs or _REPORT_FILE not in bundle.manifest.files:
        return {}
    return dict(json.loads((bundle.root / _REPORT_FILE).read_bytes())["source"])


def calibrate_bundle(run: Run, bundle: Bundle, options: CalibrationOptions, say: Say = lambda text: None) -> Bundle:
    """Add an INT8 graph that passed the accuracy gate.

    Ranges come from the calibration images only, the threshold from the threshold images and the INT8 engine itself;
    the gate compares on both and on pseudo-defects made of them.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle.
        options: How.
        say: Told about each step.

    Raises:
        BundleError: The method has no layer that gains from INT8.
        QualityGateError: The gate fails even with a single group in INT8; the bundle is as it was.
    """
    model = onnx.load_from_string(bundle.graph_path("fp32").read_bytes())
    if not layer_groups(model):
        raise BundleError(f"{run.method} has no layer that gains from INT8.", "Use its FP32 graph.")
    size_hw = bundle.manifest.input_size_hw
    parts = (run.split.fit, run.split.calibrate, run.split.threshold)
    held = _Held(*(read_resized(part, size_hw) for part in parts))
    search = _Search(run, model, held, options, say)
    groups, graph, report = search.run(bundle)
    with open_graph(graph, options.backend, "int8", bundle.graph("fp32").threshold) as engine:
        scores = [engine.infer(held.threshold[i : i + 1])[0].score for i in range(len(held.threshold))]
    info = GraphInfo(file=_GRAPH_FILE, threshold=fit_threshold(np.array(scores)), gate=report)
    document = {
        "source": _source(bundle, options),
        "groups": {group.name: list(group.layers) for group in groups},
        "noise": search.noise,
        "gate": report.model_dump(),
    }
    files: dict[str, Any] = {
        _GRAPH_FILE: graph.SerializeToString(),
        _REPORT_FILE: (json.dumps(document, indent=2) + "\n").encode(),
    }
    return bundle.with_graph("int8", info, files)


def _source(bundle: Bundle, options: CalibrationOptions) -> dict[str, Any]:
    """What an INT8 graph depends on, beside the images, which the FP32 graph stands for."""
    return {
        "edge-ad": __version__,
        "fp32": bundle.graph_sha256("fp32"),
        "backend": f"{options.backend} {probe_backend(options.backend).version}",
        "rule": options.rule,
        "limits": asdict(options.limits),
    }


class _Search:
    """Start with every group in INT8 and return the noisiest to float until the gate passes."""

    def __init__(self, run: Run, model: ModelProto, held: _Held, options: CalibrationOptions, say: Say) -> None:
        self._run, self._model, self._held, self._options, self._say = run, model, held, options, say
        self.noise: dict[str, float] = {}
        self._refitted: ModelProto | None = None

    def run(self, bundle: Bundle) -> tuple[list[LayerGroup], ModelProto, GateReport]:
        """The groups in INT8, the graph that passed, and its report."""
        threshold = bundle.graph("fp32").threshold
        data = GateData.of(np.concatenate([self._held.calibrate, self._held.threshold]))
        reference = GateReference.of(data, lambda images: run_graph(self._model, images))
        groups, returned = layer_groups(self._model), list[LayerGroup]()
        while groups:
            graph, clips = self._quantise(groups)
            with open_graph(graph, self._options.backend, "int8", threshold) as engine:
                report = judge(
                    reference,
                    engine.infer,
                    self._options.limits,
                    quantised_layers=sum(len(group.layers) for group in groups),
                    float_layers=[layer for group in returned for layer in group.layers],
                )
            self._say(f"{report.quantised_layers} layers in INT8: {describe_checks(report)}.")
            if report.passed:
                return groups, graph, report
            worst = self._noisiest(groups, clips, data)
            self._say(f"The gate failed: {worst.name} ({len(worst.layers)} layers) goes back to float.")
            groups = [group for group in groups if group is not worst]
            returned.append(worst)
        raise QualityGateError(
            f"INT8 fails the accuracy gate with any group of layers: {failed_checks(report)}.",
            "Use FP32, give --max-drop more room, or train longer; the bundle is as it was.",
        )

    def _quantise(self, groups: Sequence[LayerGroup]) -> tuple[ModelProto, dict[str, float]]:
        backbone = next((group for group in groups if group.name == BACKBONE), None)
        rest = [layer for group in groups if group is not backbone for layer in group.layers]
        if backbone is None:
            clips = self._clips(self._model, rest, self._model)
            return insert_qdq(self._model, rest, clips), clips
        clips = self._clips(self._model, backbone.layers, self._model)
        model = self._refit(backbone, clips)
        # What follows the backbone sees the features of its INT8 form.
        clips |= self._clips(model, rest, insert_qdq(model, backbone.layers, clips))
        return insert_qdq(model, [*backbone.layers, *rest], clips), clips

    def _clips(self, model: ModelProto, layers: Sequence[str], measured: ModelProto) -> dict[str, float]:
        """Ranges of the inputs of ``layers``, on the calibration images, in the graph ``measured``."""
        inputs = {node.name: node.input[0] for node in quantisable_layers(model)}
        tensors = list(dict.fromkeys(inputs[layer] for layer in layers))
        frames = (image[np.newaxis] for image in self._held.calibrate)
        histograms = measure_histograms(measured, tensors, frames)
        return {name: histogram.clip(self._options.rule) for name, histogram in histograms.items()}

    def _refit(self, backbone: LayerGroup, clips: dict[str, float]) -> ModelProto:
        """Export the detector with everything that is fitted, fitted on the features of the INT8 backbone."""
        if self._refitted is None:
            self._say(f"Fitting on the features of the INT8 backbone ({len(backbone.layers)} layers).")
            quantised = insert_qdq(self._model, backbone.layers, clips)
            output = backbone_output(self._model)
            fit, held_out = (
                torch.from_numpy(backbone_features(quantised, output, images))
                for images in (self._held.fit, self._held.calibrate)
            )
            detector = copy.deepcopy(self._run.detector)
            detector.fit_features(fit, held_out)
            self._refitted = export_onnx(detector)
        return self._refitted

    def _noisiest(self, groups: Sequence[LayerGroup], clips: dict[str, float], data: GateData) -> LayerGroup:
        images = data.images[np.linspace(0, len(data.images) - 1, _SENSITIVITY_IMAGES).astype(int)]
        model = self._refitted if any(group.name == BACKBONE for group in groups) else self._model
        assert model is not None
        missing = [group for group in groups if group.name not in self.noise]
        self.noise |= noise_by_group(model, missing, clips, images)
        return max(groups, key=lambda group: self.noise[group.name])
