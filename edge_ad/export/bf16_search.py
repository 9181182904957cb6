"""How much of a graph may be computed in bfloat16: the most that passes the accuracy gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.bundle import Bundle
from edge_ad.calibration.bf16_features import bf16_features
from edge_ad.calibration.bf16_rounding import round_backbone, with_constants
from edge_ad.calibration.calibration_set import calibration_set
from edge_ad.calibration.engines import open_graph
from edge_ad.calibration.gate import GateData, GateLimits, GateReference, describe_checks, judge
from edge_ad.calibration.graph_runner import graph_predictor
from edge_ad.calibration.layers import float32_parts, int8_candidates
from edge_ad.calibration.range_rules import RangeChoice
from edge_ad.calibration.subgraph import has_backbone
from edge_ad.export.gated_graph import own_threshold, read_report
from edge_ad.export.int8_refit import HeldImages, RefittingQuantiser
from edge_ad.export.passes import fill_channels, positions_as_groups
from edge_ad.manifest import BF16_OF, GateReport, Precision, Threshold
from edge_ad.training.runs import Run

__all__ = ["BACKEND", "Base", "Bf16Graph", "Bf16Search", "Say"]

_ROUNDING_IMAGES = 8  # what the weights of a convolution see hardly differs between photos

BACKEND = "openvino"
"""The backend that has a bfloat16 mode."""

Base = Literal["fp32", "int8"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Bf16Graph:
    """What the gate said, and of what.

    Attributes:
        model: The graph, where something was fitted again; None where it is the one that it was made of.
        float32: Its parts that stay in float32.
        report: The gate's.
        threshold: The engine's own; None where the gate failed.
    """

    model: ModelProto | None
    float32: list[str]
    report: GateReport
    threshold: Threshold | None


class Bf16Search:
    """Gates a graph in bfloat16, first with as little as possible in float32, then with more.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle, with the graph ``base``.
        base: Precision of the graph that is run in bfloat16.
        calibration_images: Folder of the user's own images, on which INT8 layers were calibrated; None for the run's.
        say: Told about each step.

    Raises:
        DataError: The images cannot be used.
    """

    def __init__(self, run: Run, bundle: Bundle, base: Base, calibration_images: Path | None, say: Say) -> None:
        self._run, self._bundle, self._base, self._say = run, bundle, base, say
        self._float_model, self._model = (_graph(bundle, name) for name in ("fp32", base))
        self._layers = read_report(bundle, base).get("int8_layers", [])
        size_hw = bundle.manifest.input_size_hw
        ranges = calibration_set(run.split, run.product_root, size_hw, calibration_images, run.folders)
        self._held = HeldImages.read(run.split, ranges.paths, size_hw)

    def run(self, limits: GateLimits) -> Bf16Graph:
        """The first graph that passes, or the last that does not."""
        reference = GateReference.of(GateData.of(self._held.held_out), graph_predictor(self._float_model))
        # Of the float graph: what quantises a layer differs between the INT8 graph and the one that is made of it here.
        named = self._float_model
        candidates = float32_parts(_arranged(named) if has_backbone(named) else named)
        for index, parts in enumerate(candidates):
            found = self._judged(parts, reference, limits)
            kept = "the start of the backbone" if parts and index == 0 else "all that judges" if parts else "nothing"
            self._say(f"{BF16_OF[self._base]} with {kept} in float32: {describe_checks(found.report)}.")
            if found.threshold is not None:
                break
        return found

    def _judged(self, parts: list[str], reference: GateReference, limits: GateLimits) -> Bf16Graph:
        fitted, threshold = self._fitted(parts), self._bundle.graph(self._base).threshold
        model = self._model if fitted is None else fitted
        with open_graph(model, BACKEND, BF16_OF[self._base], threshold, parts) as engine:
            report = judge(reference, engine.infer, limits, quantised_layers=len(self._layers))
            own = own_threshold(engine, self._held.threshold) if report.passed else None
        return Bf16Graph(fitted, parts, report, own)

    def _fitted(self, parts: list[str]) -> ModelProto | None:
        """The graph with everything that is fitted on features, on those of its backbone in bfloat16."""
        if not has_backbone(self._model):
            return None
        candidates = int8_candidates(self._float_model) if self._layers else []
        rule: RangeChoice = read_report(self._bundle, self._base).get("source", {}).get("rule", "auto")

        frames = self._held.ranges[:_ROUNDING_IMAGES, np.newaxis]
        rounded: dict[str, NDArray[np.float32]] = {}

        def prepared(model: ModelProto) -> ModelProto:
            """With the backbone's weights in bfloat16: the same in every graph here, since it is frozen."""
            if not rounded:
                rounded.update(round_backbone(model, frames, parts))
            return _arranged(with_constants(model, rounded))

        def features(model: ModelProto, name: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return bf16_features(prepared(model), name, images, float32=parts)

        quantiser = RefittingQuantiser(self._run, self._float_model, candidates, self._held, rule, self._say, features)
        return prepared(quantiser.quantise(self._layers))


def _arranged(model: ModelProto) -> ModelProto:
    """A copy that does the same in less time in bfloat16."""
    copy = ModelProto.FromString(model.SerializeToString())
    fill_channels(copy)
    positions_as_groups(copy)
    return copy


def _graph(bundle: Bundle, precision: Precision) -> ModelProto:
    return onnx.load_from_string(bundle.graph_bytes(precision))
