"""One search for an INT8 graph: its images, FP32's answers on them, and what was measured so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from onnx import ModelProto

from edge_ad.calibration.engines import open_graph
from edge_ad.calibration.gate import GateLimits, judge
from edge_ad.calibration.gate_data import GateData, GateReference
from edge_ad.calibration.graph_runner import graph_predictor
from edge_ad.calibration.layers import int8_candidates
from edge_ad.calibration.range_rules import RangeChoice
from edge_ad.calibration.search import MixedPrecision, search_mixed_precision
from edge_ad.calibration.sensitivity import FEW_IMAGES, LayerSensitivity, SensitivityAnalysis
from edge_ad.export.int8_latency import measure_costs
from edge_ad.export.int8_refit import HeldImages, RefittingQuantiser
from edge_ad.manifest import GateReport, Threshold
from edge_ad.training.runs import Run

__all__ = ["Int8Search", "Listeners"]


@dataclass(frozen=True)
class Listeners:
    """Who is told what.

    Attributes:
        say: Each step.
        count: How many layers were analysed, and of how many.
    """

    say: Callable[[str], None] = lambda text: None
    count: Callable[[int, int], None] = lambda done, total: None


class Int8Search:
    """Finds the INT8 graph of a detector.

    Args:
        run: The run of the trained detector.
        model: Its float deploy graph, with at least one layer that may become INT8.
        held: Images.
        backend: Backend whose engine must pass the gate.
        rule: How ranges follow from what was measured.
        threshold: Any threshold; the gate does not depend on it.
        listeners: Told about each step.
    """

    def __init__(
        self,
        run: Run,
        model: ModelProto,
        held: HeldImages,
        backend: str,
        rule: RangeChoice,
        threshold: Threshold,
        listeners: Listeners,
    ) -> None:
        self._model, self._backend, self._threshold, self._listeners = model, backend, threshold, listeners
        self._layers = int8_candidates(model)
        self._data = GateData.of(held.held_out)
        self._quantiser = RefittingQuantiser(run, model, self._layers, held, rule, listeners.say)
        self.sensitivity: list[LayerSensitivity] = []

    @cached_property
    def reference(self) -> GateReference:
        """FP32 on the images of the gate."""
        return GateReference.of(self._data, graph_predictor(self._model))

    def run(self, limits: GateLimits) -> MixedPrecision:
        """Search the layers that must be in float.

        Raises:
            QualityGateError: The gate fails even with a single layer in INT8.
        """

        def judge_graph(graph: ModelProto, quantised: int, returned: Sequence[str]) -> GateReport:
            with open_graph(graph, self._backend, "int8", self._threshold) as engine:
                return judge(self.reference, engine.infer, limits, quantised_layers=quantised, float_layers=returned)

        def rank() -> list[str]:
            return [item.layer for item in self._measure(self.reference.few(FEW_IMAGES), ())]

        return search_mixed_precision(self._layers, self._quantiser.quantise, judge_graph, rank, self._listeners.say)

    def measure_sensitivity(self, known: Iterable[LayerSensitivity], spread: float) -> list[LayerSensitivity]:
        """What each layer does alone, the most sensitive first, without a search.

        Args:
            known: Layers that have been measured.
            spread: Standard deviation of the FP32 scores on all images of the gate.
        """
        few = self._data.few(FEW_IMAGES)
        reference = GateReference.of(few, graph_predictor(self._model), spread=spread)
        return self._measure(reference, known)

    def costs(self, found: MixedPrecision) -> dict[str, Any]:
        """What the layers in float cost in latency, as `measure_costs` gives it; empty where there are none."""
        if not found.returned:
            return {}
        self._listeners.say("Timing what the layers in float cost.")
        return measure_costs(found, self._quantiser.plain, self._model, self._backend, self._threshold)

    def _measure(self, reference: GateReference, known: Iterable[LayerSensitivity]) -> list[LayerSensitivity]:
        self._listeners.say(f"Measuring what each of {len(self._layers)} layers does alone.")
        # In the float graph as it was trained: a fit on the features of each single layer would take minutes.
        quantise = self._quantiser.plain.quantise
        analysis = SensitivityAnalysis(reference, quantise, known=known, listen=self._listeners.count)
        self.sensitivity = analysis.measure(self._layers)
        return self.sensitivity
