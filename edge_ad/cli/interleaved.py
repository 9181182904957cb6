"""Two callables timed in turns, so that the noise of a machine hits both alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_ad.runtime.timing import LatencyStats

__all__ = ["Comparison", "compare"]

_NS_PER_S = 1_000_000_000
_MIN_RUNS = 3
_WARM_UP_S = 0.2


@dataclass(frozen=True)
class Comparison:
    """Two latencies from the same rounds.

    Attributes:
        ours: Latency of the first way.
        theirs: Latency of the second way.
        ratio_of_medians: ``theirs.p50_ms / ours.p50_ms``: how many times as fast the first is.
        ratio_per_round: The same ratio in each round: what it may be expected to vary by.
    """

    ours: LatencyStats
    theirs: LatencyStats
    ratio_of_medians: float
    ratio_per_round: list[float]


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int = 6, seconds: float = 3.0
) -> Comparison:
    """Time two callables in turns.

    A round is a block of each; every other round begins with the second, so that neither always meets the machine
    that the other left. Two runs of each block are not timed: they wake that side's threads and caches.

    Args:
        ours: The first way.
        theirs: The second way.
        rounds: Number of rounds, >= 1.
        seconds: Time for each side over all rounds, at least; each block has at least 3 timed runs.
    """
    sides = (_Side(ours), _Side(theirs))
    for side in sides:
        side.warm_up()
    for index in range(rounds):
        for side in sides if index % 2 == 0 else reversed(sides):
            side.run_block(seconds / rounds)
    first, second = (side.stats() for side in sides)
    medians = zip(sides[0].block_medians(), sides[1].block_medians(), strict=True)
    return Comparison(first, second, second.p50_ms / first.p50_ms, [b / a for a, b in medians])


class _Side:
    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self._blocks: list[list[int]] = []

    def warm_up(self) -> None:
        self.run_block(_WARM_UP_S)
        self._blocks.clear()

    def run_block(self, seconds: float) -> None:
        self._run()
        self._run()
        durations: list[int] = []
        deadline = time.perf_counter_ns() + int(seconds * _NS_PER_S)
        while len(durations) < _MIN_RUNS or time.perf_counter_ns() < deadline:
            start = time.perf_counter_ns()
            self._run()
            durations.append(time.perf_counter_ns() - start)
        self._blocks.append(durations)

    def block_medians(self) -> list[float]:
        return [float(np.median(block)) for block in self._blocks]

    def stats(self) -> LatencyStats:
        durations = [duration for block in self._blocks for duration in block]
        return LatencyStats.of(durations, sum(durations))
