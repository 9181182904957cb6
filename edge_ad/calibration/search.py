"""The search for the layers that go back to float: as few as the accuracy gate asks for, the most sensitive first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from edge_ad.calibration.gate import describe_checks, failed_checks
from edge_ad.errors import QualityGateError
from edge_ad.manifest import GateReport

__all__ = ["GateStep", "MixedPrecision", "search_mixed_precision"]

Quantise = Callable[[Collection[str]], ModelProto]
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
