"""Latency and throughput, measured on the monotonic clock; no percentile is clipped, no slow run is dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np

__all__ = ["Comparison", "LatencyStats", "StageStats", "compare", "measure", "measure_stages"]

_NS_PER_MS = 1e6
_NS_PER_S = 1e9
_BLOCK_RUNS = 3
_BLOCK_WARM_UP_S = 0.2
_Frame = TypeVar("_Frame")


@dataclass(frozen=True)
class LatencyStats:
    """Distribution of a latency.

    Attributes:
        mean_ms: Mean, in milliseconds.
        std_ms: Standard deviation, in milliseconds.
        min_ms: Fastest run.
        p50_ms: Median.
        p90_ms: 90th percentile.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        max_ms: Slowest run.
        runs: Number of runs.
        fps: Runs divided by the seconds from the first start to the last end; for one stage of several, divided by the
            seconds spent in it.
    """

    mean_ms: float
    std_ms: float
    min_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    runs: int
    fps: float

    @classmethod
    def of(cls, durations_ns: Sequence[int], elapsed_ns: int) -> LatencyStats:
        """Summarise runs.

        Args:
            durations_ns: Duration of each run, in nanoseconds; at least one.
            elapsed_ns: From the first start to the last end, in nanoseconds; above 0.

        Raises:
            ValueError: No runs, or no time.
        """
        if not durations_ns or elapsed_ns <= 0:
            raise ValueError("latency needs at least one run that took time")
        latency_ms = np.asarray(durations_ns, np.float64) / _NS_PER_MS
        p50, p90, p95, p99 = np.percentile(latency_ms, [50, 90, 95, 99])
        return cls(
            mean_ms=float(latency_ms.mean()),
            std_ms=float(latency_ms.std()),
            min_ms=float(latency_ms.min()),
            p50_ms=float(p50),
            p90_ms=float(p90),
            p95_ms=float(p95),
            p99_ms=float(p99),
            max_ms=float(latency_ms.max()),
            runs=len(durations_ns),
            fps=len(durations_ns) * _NS_PER_S / elapsed_ns,
        )

    def to_dict(self) -> dict[str, float]:
        """Field → value."""
        return asdict(self)


@dataclass(frozen=True)
class StageStats:
    """Latency of the stages of one frame.

    Attributes:
        prepare: Making the frame ready: decoding, resizing.
        infer: The engine.
        total: Both.
    """

    prepare: LatencyStats
    infer: LatencyStats
    total: LatencyStats

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Stage → its latency."""
        return {"prepare": self.prepare.to_dict(), "infer": self.infer.to_dict(), "total": self.total.to_dict()}


def measure(
    run: Callable[[], object],
    *,
    min_runs: int = 50,
    min_seconds: float = 1.0,
    warm_up_ms: float = 200.0,
    warm_up_runs: int = 10,
) -> LatencyStats:
    """Time a callable.

    Args:
        run: What to time.
        min_runs: Time at least so many runs.
        min_seconds: Time for at least so long.
        warm_up_ms: Run untimed first for at least so long, in milliseconds.
        warm_up_runs: Run untimed first at least so often.
    """

    def timed() -> tuple[int, int]:
        start = time.perf_counter_ns()
        run()
        return start, time.perf_counter_ns()

    return _stats(_timelines(timed, min_runs, min_seconds, warm_up_ms, warm_up_runs), 0, 1)


def measure_stages(
    prepare: Callable[[], _Frame],
    infer: Callable[[_Frame], object],
    *,
    min_runs: int = 50,
    min_seconds: float = 1.0,
    warm_up_ms: float = 200.0,
    warm_up_runs: int = 10,
) -> StageStats:
    """Time the preparation of a frame and the inference on it, in turn, as a stream does them.

    Args:
        prepare: Makes a frame.
        infer: Takes it.
        min_runs: As in `measure`.
        min_seconds: As in `measure`.
        warm_up_ms: As in `measure`.
        warm_up_runs: As in `measure`.
    """

    def timed() -> tuple[int, int, int]:
        start = time.perf_counter_ns()
        frame = prepare()
        between = time.perf_counter_ns()
        infer(frame)
        return start, between, time.perf_counter_ns()

    timelines = _timelines(timed, min_runs, min_seconds, warm_up_ms, warm_up_runs)
    return StageStats(
        prepare=_stats(timelines, 0, 1),
        infer=_stats(timelines, 1, 2),
        total=_stats(timelines, 0, 2),
    )


def _timelines(
    timed: Callable[[], tuple[int, ...]], min_runs: int, min_seconds: float, warm_up_ms: float, warm_up_runs: int
) -> list[tuple[int, ...]]:
    _repeat(timed, warm_up_runs, warm_up_ms * _NS_PER_MS)
    return _repeat(timed, max(min_runs, 1), min_seconds * _NS_PER_S)


def _repeat(timed: Callable[[], tuple[int, ...]], runs: int, duration_ns: float) -> list[tuple[int, ...]]:
    start = time.perf_counter_ns()
    timelines: list[tuple[int, ...]] = []
    while len(timelines) < runs or time.perf_counter_ns() - start < duration_ns:
        timelines.append(timed())
    return timelines


def _stats(timelines: list[tuple[int, ...]], first: int, last: int) -> LatencyStats:
    durations_ns = [marks[last] - marks[first] for marks in timelines]
    # A stage has its own throughput; the whole frame has that of the clock on the wall.
    is_whole = first == 0 and last == len(timelines[0]) - 1
    elapsed_ns = timelines[-1][last] - timelines[0][first] if is_whole else sum(durations_ns)
    return LatencyStats.of(durations_ns, max(elapsed_ns, 1))


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
        self.run_block(_BLOCK_WARM_UP_S)
        self._blocks.clear()

    def run_block(self, seconds: float) -> None:
        self._run()
        self._run()
        durations: list[int] = []
        deadline = time.perf_counter_ns() + int(seconds * _NS_PER_S)
        while len(durations) < _BLOCK_RUNS or time.perf_counter_ns() < deadline:
            start = time.perf_counter_ns()
            self._run()
            durations.append(time.perf_counter_ns() - start)
        self._blocks.append(durations)

    def block_medians(self) -> list[float]:
        return [float(np.median(block)) for block in self._blocks]

    def stats(self) -> LatencyStats:
        durations = [duration for block in self._blocks for duration in block]
        return LatencyStats.of(durations, sum(durations))
