"""Which layers go back to float: how much each disturbs the anomaly map, and the search for as few as needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.gate import GateReference, describe_checks, failed_checks
from edge_ad.calibration.graph_runner import run_graph
from edge_ad.errors import QualityGateError
from edge_ad.manifest import GateReport

__all__ = [
    "FEW_IMAGES",
    "GateStep",
    "LayerSensitivity",
    "MixedPrecision",
    "SensitivityAnalysis",
    "most_sensitive_first",
    "search_mixed_precision",
]

FEW_IMAGES = 4
"""On how many images a layer is tried: two good ones, two with a pseudo-defect."""

_LARGEST_DB = 120.0
_BROKEN_DRIFT = 1e6

Quantise = Callable[[Collection[str]], ModelProto]


@dataclass(frozen=True)
class LayerSensitivity:
    """What one layer does alone.

    Attributes:
        layer: Name of its node.
        sqnr_db: Variance of the FP32 anomaly maps over the mean squared error that this layer adds to them, in decibels
            in [-120, 120]; 10 dB more is a tenth of the noise.
        score_drift: Mean distance of its scores from those of FP32, in standard deviations of the FP32 scores.
    """

    layer: str
    sqnr_db: float
    score_drift: float


class SensitivityAnalysis:
    """Quantise one layer at a time; what was measured once is not measured again.

    Args:
        reference: FP32 on a few images; each layer is run on all of them.
        quantise: Layers → graph with these in INT8.
        known: Results of an earlier analysis of the same graph and ranges.
        listen: Told how many layers are done, and of how many.
    """

    def __init__(
        self,
        reference: GateReference,
        quantise: Quantise,
        *,
        known: Iterable[LayerSensitivity] = (),
        listen: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._quantise, self._listen = quantise, listen
        self._found = {item.layer: item for item in known}
        self._reference = reference

    @property
    def found(self) -> list[LayerSensitivity]:
        """All that has been measured, the most sensitive first."""
        return most_sensitive_first(self._found.values())

    def measure(self, layers: Collection[str]) -> list[LayerSensitivity]:
        """Measure layers that have not been, and return these layers, the most sensitive first."""
        missing = [layer for layer in layers if layer not in self._found]
        for done, layer in enumerate(missing, 1):
            self._found[layer] = self._measure(layer)
            self._listen(done, len(missing))
        return most_sensitive_first(self._found[layer] for layer in layers)

    def _measure(self, layer: str) -> LayerSensitivity:
        graph = self._quantise([layer])
        predictions = run_graph(graph, self._reference.data.images)
        maps = np.stack([prediction.anomaly_map for prediction in predictions])
        scores = np.array([prediction.score for prediction in predictions])
        if not (np.isfinite(maps).all() and np.isfinite(scores).all()):
            return LayerSensitivity(layer, -_LARGEST_DB, _BROKEN_DRIFT)
        drift = float(np.abs(scores - self._reference.scores).mean() / self._reference.spread)
        return LayerSensitivity(layer, _sqnr_db(self._reference.maps, maps), drift)


def most_sensitive_first(items: Iterable[LayerSensitivity]) -> list[LayerSensitivity]:
    """By the noise at the map; layers that add the same, by their drift."""
    return sorted(items, key=lambda item: (item.sqnr_db, -item.score_drift))


def _sqnr_db(float_maps: NDArray[np.float32], maps: NDArray[np.float32]) -> float:
    signal = float(float_maps.var(dtype=np.float64))
    noise = float(np.square(maps.astype(np.float64) - float_maps).mean())
    if noise == 0.0 or signal == 0.0:
        return _LARGEST_DB if noise == 0.0 else -_LARGEST_DB
    return min(max(10 * math.log10(signal / noise), -_LARGEST_DB), _LARGEST_DB)


Judge = Callable[[ModelProto, int, Sequence[str]], GateReport]


@dataclass(frozen=True)
class GateStep:
    """One graph that was held against the gate.

    Attributes:
        returned: Layers that were in float again, the most sensitive first.
        report: What the gate said.
    """

    returned: tuple[str, ...]
    report: GateReport


@dataclass(frozen=True)
class MixedPrecision:
    """A graph that passed.

    Attributes:
        graph: With Q/DQ.
        layers: Its INT8 layers, in the order of the graph.
        returned: Layers that went back to float, the most sensitive first.
        steps: Every graph that was tried, the last of them not necessarily the one that was taken.
    """

    graph: ModelProto
    layers: tuple[str, ...]
    returned: tuple[str, ...]
    steps: tuple[GateStep, ...]

    @property
    def report(self) -> GateReport:
        """The gate's report on the graph."""
        return next(step.report for step in self.steps if step.returned == self.returned)


def search_mixed_precision(
    layers: Sequence[str],
    quantise: Quantise,
    judge: Judge,
    rank: Callable[[], Sequence[str]],
    say: Callable[[str], None] = lambda text: None,
) -> MixedPrecision:
    """Quantise all layers, and return the most sensitive to float until the gate passes.

    The number that goes back is found by doubling it until the gate passes and by halving what lies between the last
    that failed and the first that passed, so that a graph of 50 layers takes a handful of steps.

    Args:
        layers: Layers to begin with, in the order of the graph; at least one.
        quantise: Layers → graph with these in INT8.
        judge: Graph, number of its INT8 layers, layers in float again → the gate's report.
        rank: All layers, the most sensitive first; asked for only when the gate fails.
        say: Told about each step.

    Raises:
        QualityGateError: The gate fails even with a single layer in INT8.
    """
    trials = _Trials(layers, quantise, judge, say)
    if trials.passes(()):
        return trials.take(())
    ranked = tuple(rank())
    passed = _first_that_passes(trials, ranked)
    failed = max(trials.failed)
    while passed - failed > 1:
        middle = (failed + passed) // 2
        if trials.passes(ranked[:middle]):
            passed = middle
        else:
            failed = middle
    return trials.take(ranked[:passed])


def _first_that_passes(trials: _Trials, ranked: tuple[str, ...]) -> int:
    most = len(ranked) - 1  # one layer at least is INT8
    count = 1
    while count <= most:
        if trials.passes(ranked[:count]):
            return count
        if count == most:
            break
        count = min(2 * count, most)
    raise QualityGateError(
        f"INT8 fails the accuracy gate with any number of layers: {failed_checks(trials.steps[-1].report)}.",
        "Use FP32, give --max-drop more room, or train longer; the bundle is as it was.",
        trials.steps[-1].report.model_dump(),
    )


class _Trials:
    def __init__(self, layers: Sequence[str], quantise: Quantise, judge: Judge, say: Callable[[str], None]) -> None:
        self._layers, self._quantise, self._judge, self._say = layers, quantise, judge, say
        self._best: tuple[tuple[str, ...], ModelProto] | None = None
        self.steps: list[GateStep] = []

    @property
    def failed(self) -> list[int]:
        """Numbers of layers in float that were not enough."""
        return [len(step.returned) for step in self.steps if not step.report.passed]

    def passes(self, returned: tuple[str, ...]) -> bool:
        kept = self._kept(returned)
        graph = self._quantise(kept)
        report = self._judge(graph, len(kept), returned)
        self.steps.append(GateStep(returned, report))
        back = f", {len(returned)} back in float" if returned else ""
        verdict = "passed" if report.passed else f"failed by {failed_checks(report)}"
        self._say(f"{len(kept)} layers in INT8{back}: {describe_checks(report)}: {verdict}.")
        if report.passed:
            self._best = (returned, graph)
        return report.passed

    def take(self, returned: tuple[str, ...]) -> MixedPrecision:
        assert self._best is not None
        assert self._best[0] == returned
        return MixedPrecision(self._best[1], self._kept(returned), returned, tuple(self.steps))

    def _kept(self, returned: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(layer for layer in self._layers if layer not in returned)
