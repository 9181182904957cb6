"""Engines measured in turns: every round visits each of them, so that what a machine does hits all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from benchmarks.suites.stability import WINDOWS, Settings, is_stable, spread
from benchmarks.suites.stages import FramePath
from benchmarks.suites.yardstick import Yardstick
from edge_ad.prediction import Prediction

__all__ = ["Candidate", "delayed", "measure_in_turns"]

_UNTIMED = 2  # wake the threads and caches that the engine before has taken


@dataclass
class Candidate:
    """One engine with one batch size.

    Attributes:
        path: What is timed.
        rounds: (median in ms, yardstick in ms) of each round.
        windows_ms: Median of each window.
        measured_s: Seconds that were timed.
    """

    path: FramePath
    rounds: list[tuple[float, float]] = field(default_factory=list)
    windows_ms: list[float] = field(default_factory=list)
    measured_s: float = 0.0

    def warm_up(self, settings: Settings) -> None:
        """Run untimed."""
        ends, runs = time.perf_counter() + settings.warm_up_s, 0
        while runs < settings.warm_up_runs or time.perf_counter() < ends:
            self.path.run()
            runs += 1
        self.path.log.marks.clear()

    def run_block(self, seconds: float, runs: int) -> float:
        """Time a block; returns its median in milliseconds."""
        log = self.path.log
        before = len(log.marks)
        for _ in range(_UNTIMED):
            self.path.run()
        del log.marks[before:]
        started = time.perf_counter()
        while len(log.marks) - before < runs or time.perf_counter() - started < seconds:
            self.path.run()
        self.measured_s += time.perf_counter() - started
        return median(log.totals_ns(before)) / 1e6

    @property
    def runs(self) -> int:
        """Timed runs so far."""
        return len(self.path.log.marks)

    @property
    def spread(self) -> float:
        """Of the last three windows."""
        return spread(self.windows_ms)


def measure_in_turns(candidates: Sequence[Candidate], yardstick: Yardstick, settings: Settings) -> None:
    """Measure windows until the last three of every candidate agree, and each has its seconds and runs.

    Args:
        candidates: They keep what was measured. No run is left out, also not of the windows before they agreed.
        yardstick: Timed before and after each block.
        settings: How long.
    """
    for candidate in candidates:
        candidate.warm_up(settings)
    for window in range(settings.most_windows):
        _measure_window(candidates, yardstick, settings)
        enough = all(item.runs >= settings.runs and item.measured_s >= settings.seconds for item in candidates)
        if window + 1 >= WINDOWS and enough and all(is_stable(item.windows_ms) for item in candidates):
            return


def _measure_window(candidates: Sequence[Candidate], yardstick: Yardstick, settings: Settings) -> None:
    seconds = settings.seconds / WINDOWS / settings.rounds
    runs = math.ceil(settings.runs / WINDOWS / settings.rounds)
    for index in range(settings.rounds):
        first = index % len(candidates)
        before = yardstick.median_ms()
        for candidate in [*candidates[first:], *candidates[:first]]:
            block_ms = candidate.run_block(seconds, runs)
            after = yardstick.median_ms()
            candidate.rounds.append((block_ms, fmean((before, after))))
            before = after
    for candidate in candidates:
        candidate.windows_ms.append(median(value for value, _ in candidate.rounds[-settings.rounds :]))


def delayed(infer: Callable[..., list[Prediction]], delay_ms: float) -> Callable[..., list[Prediction]]:
    """The same engine, slower by a fixed time: what the comparison of results is tested with."""

    def run(*arguments: object) -> list[Prediction]:
        predictions = infer(*arguments)
        ends = time.perf_counter_ns() + int(delay_ms * 1e6)
        while time.perf_counter_ns() < ends:  # not sleep: it would give the core away
            pass
        return predictions

    return run
