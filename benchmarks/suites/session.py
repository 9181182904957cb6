"""Engines measured in turns: every round visits each of them, so that what a machine does hits all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import NamedTuple

from benchmarks.suites.stability import WINDOWS, Settings, is_stable, spread
from benchmarks.suites.stages import FramePath
from benchmarks.suites.steal import StealClock, is_calm
from benchmarks.suites.yardstick import Yardstick
from edge_ad.prediction import Prediction

__all__ = ["Candidate", "Round", "delayed", "measure_in_turns"]

_UNTIMED = 2  # wake the threads and caches that the engine before has taken
_MOST_ROUNDS = 3  # times as many as a window needs, until enough of them are calm


class Round(NamedTuple):
    """One turn of one engine.

    Attributes:
        p50_ms: Median of its runs.
        yardstick_ms: Of the yardstick before and after it.
        stolen: Share of the machine's time that its host took in the whole round; None where nothing says.
    """

    p50_ms: float
    yardstick_ms: float
    stolen: float | None


@dataclass
class Candidate:
    """One engine with one batch size.

    Attributes:
        path: What is timed.
        rounds: Each round, in their order.
        windows_ms: Median of each window.
        measured_s: Seconds that were timed.
    """

    path: FramePath
    rounds: list[Round] = field(default_factory=list)
    windows_ms: list[float] = field(default_factory=list)
    measured_s: float = 0.0

    def warm_up(self, settings: Settings) -> float:
        """Run without keeping anything; returns about what a run takes, in seconds."""
        ends = time.perf_counter() + settings.warm_up_s
        while self.runs < settings.warm_up_runs or time.perf_counter() < ends:
            self.path.run()
        run_s = median(self.path.log.totals_ns()) / 1e9
        self.path.log.marks.clear()
        return run_s

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

    Rounds in which the host took the machine's time are kept, and more are measured: a window is the median of its calm
    ones. How many runs the patience leaves time for is settled before the first of them.

    Args:
        candidates: They keep what was measured. No run is left out, also not of the windows before they agreed.
        yardstick: Timed before and after each block.
        settings: How long.
    """
    settings = settings.within_patience(sum(candidate.warm_up(settings) for candidate in candidates))
    ends = time.perf_counter() + settings.patience_s
    for window in range(settings.most_windows):
        _measure_window(candidates, yardstick, settings, ends)
        enough = all(item.runs >= settings.runs and item.measured_s >= settings.seconds for item in candidates)
        settled = enough and all(is_stable(item.windows_ms) for item in candidates)
        if window + 1 >= WINDOWS and (settled or time.perf_counter() >= ends):
            return


def _measure_window(candidates: Sequence[Candidate], yardstick: Yardstick, settings: Settings, ends: float) -> None:
    seconds = settings.seconds / WINDOWS / settings.rounds
    runs = math.ceil(settings.runs / WINDOWS / settings.rounds)
    before = len(candidates[0].rounds)
    calm = 0
    for index in range(_MOST_ROUNDS * settings.rounds):
        calm += is_calm(_measure_round(candidates, yardstick, index, seconds, runs))
        if calm == settings.rounds or (index + 1 >= settings.rounds and time.perf_counter() >= ends):
            break
    for candidate in candidates:
        candidate.windows_ms.append(_middle(candidate.rounds[before:]))


def _measure_round(
    candidates: Sequence[Candidate], yardstick: Yardstick, index: int, seconds: float, runs: int
) -> float | None:
    """A turn of each; returns what was stolen meanwhile."""
    first = index % len(candidates)
    clock, before = StealClock(), yardstick.median_ms()
    found = []
    for candidate in [*candidates[first:], *candidates[:first]]:
        block_ms, after = candidate.run_block(seconds, runs), yardstick.median_ms()
        found.append((candidate, block_ms, fmean((before, after))))
        before = after
    stolen = clock.lap()
    for candidate, block_ms, yard_ms in found:
        candidate.rounds.append(Round(block_ms, yard_ms, stolen))
    return stolen


def _middle(rounds: Sequence[Round]) -> float:
    """Median of a window's calm rounds; of all where none was."""
    return median([item.p50_ms for item in rounds if is_calm(item.stolen)] or [item.p50_ms for item in rounds])


def delayed(infer: Callable[..., list[Prediction]], delay_ms: float) -> Callable[..., list[Prediction]]:
    """The same engine, slower by a fixed time: what the comparison of results is tested with."""

    def run(*arguments: object) -> list[Prediction]:
        predictions = infer(*arguments)
        ends = time.perf_counter_ns() + int(delay_ms * 1e6)
        while time.perf_counter_ns() < ends:  # not sleep: it would give the core away
            pass
        return predictions

    return run
