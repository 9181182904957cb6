"""Latencies of several callables timed in turns, so that the noise of a machine hits all of them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Medians", "interleaved_medians"]

_NS_PER_MS = 1e6
_WARM_UP = 2
_ERROR_PER_QUARTILE_DISTANCE = math.sqrt(math.pi / 2) / 1.349  # of normally distributed values


@dataclass(frozen=True)
class Medians:
    """A latency.

    Attributes:
        median_ms: Median over all runs, in milliseconds.
        error_ms: Standard error of the median, in milliseconds, from the distance between the quartiles.
        runs: Number of timed runs.
    """

    median_ms: float
    error_ms: float
    runs: int


def interleaved_medians(
    callables: Mapping[str, Callable[[], object]], *, rounds: int = 8, runs: int = 3
) -> dict[str, Medians]:
    """Time callables in turns.

    Each round runs every one of them, one untimed run first, which wakes its threads and caches; every other round goes
    backwards, so that none always follows the same neighbour.

    Args:
        callables: Name → what to time; at least one.
        rounds: Number of rounds, >= 1.
        runs: Timed runs of each in a round, >= 1.
    """
    durations: dict[str, list[int]] = {name: [] for name in callables}
    for run in callables.values():
        _timed(run, _WARM_UP)
    for index in range(rounds):
        names = list(callables)
        for name in names if index % 2 == 0 else reversed(names):
            durations[name] += _timed(callables[name], runs + 1)[1:]
    return {name: _summary(found) for name, found in durations.items()}


def _timed(run: Callable[[], object], count: int) -> list[int]:
    marks = [time.perf_counter_ns()]
    for _ in range(count):
        run()
        marks.append(time.perf_counter_ns())
    return [int(duration) for duration in np.diff(marks)]


def _summary(durations_ns: list[int]) -> Medians:
    low, median, high = np.percentile(np.asarray(durations_ns) / _NS_PER_MS, [25, 50, 75])
    error = _ERROR_PER_QUARTILE_DISTANCE * (high - low) / math.sqrt(len(durations_ns))
    return Medians(float(median), float(error), len(durations_ns))
