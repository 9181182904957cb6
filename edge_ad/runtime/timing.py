"""Latency and throughput on the monotonic clock; no percentile is clipped, no slow run dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import numpy as np

from edge_ad.bundle import Bundle, EngineDirectory, record_latency
from edge_ad.manifest import Precision
from edge_ad.runtime.engines import open_engine

__all__ = ["Comparison", "LatencyStats", "compare", "measure", "median_latencies", "record_latencies"]

_NS_PER_MS = 1e6
_NS_PER_S = 1e9
_BLOCK_RUNS = 3
_BLOCK_WARM_UP_S = 0.2
_ROUNDS = 10
_RUNS = 5


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
        fps: Runs divided by the seconds from the first start to the last end.
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
        min_runs: Least number of timed runs.
        min_seconds: Least time to measure for.
        warm_up_ms: Least time to run untimed first, in milliseconds.
        warm_up_runs: Least number of untimed runs first.
    """
    _timed(run, warm_up_runs, warm_up_ms * _NS_PER_MS)
    started = time.perf_counter_ns()
    durations_ns = _timed(run, max(min_runs, 1), min_seconds * _NS_PER_S)
    return LatencyStats.of(durations_ns, max(time.perf_counter_ns() - started, 1))


def _timed(run: Callable[[], object], least_runs: int, least_ns: float) -> list[int]:
    """Duration of each run, in nanoseconds; both minimums are kept."""
    began = time.perf_counter_ns()
    durations: list[int] = []
    while len(durations) < least_runs or time.perf_counter_ns() - began < least_ns:
        start = time.perf_counter_ns()
        run()
        durations.append(time.perf_counter_ns() - start)
    return durations


@dataclass(frozen=True)
class Comparison:
    """Two latencies from the same rounds.

    Attributes:
        ours: Latency of the first way.
        theirs: Latency of the second way.
        ratio_of_medians: ``theirs.p50_ms / ours.p50_ms``: how many times as fast the first is.
        ratio_per_round: The same ratio in each round, which shows how much it varies.
    """

    ours: LatencyStats
    theirs: LatencyStats
    ratio_of_medians: float
    ratio_per_round: list[float]


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int = 6, seconds: float = 3.0
) -> Comparison:
    """Time two callables in turns.

    A round is a block of each; every other round begins with the second, so that neither always runs after the other.
    The first two runs of each block are not timed: they wake that side's threads and caches.

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
        self._blocks.append(_timed(self._run, _BLOCK_RUNS, seconds * _NS_PER_S))

    def block_medians(self) -> list[float]:
        return [float(np.median(block)) for block in self._blocks]

    def stats(self) -> LatencyStats:
        durations = [duration for block in self._blocks for duration in block]
        return LatencyStats.of(durations, sum(durations))


def median_latencies(bundle: Bundle, backend: str, precisions: Sequence[Precision]) -> dict[Precision, float]:
    """Median latency of one frame per precision, in milliseconds, on the bundle's own reference photos.

    Args:
        bundle: The bundle, with an engine of each precision for this machine.
        backend: Name of the backend.
        precisions: What to time.
    """
    frames = bundle.reference().images
    times: dict[Precision, list[float]] = {name: [] for name in precisions}
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(open_engine(bundle, backend=backend, precision=name)) for name in precisions
        }
        for engine in engines.values():
            engine.warm_up()
        for _ in range(_ROUNDS):
            for name, engine in engines.items():
                for run in range(-1, _RUNS):  # the first one wakes this engine's threads and is not counted
                    frame = frames[run % len(frames)][np.newaxis]
                    began = time.perf_counter()
                    engine.infer(frame)
                    if run >= 0:
                        times[name].append(1e3 * (time.perf_counter() - began))
    return {name: float(np.median(part)) for name, part in times.items()}


def record_latencies(
    bundle: Bundle, backend: str, engines: dict[Precision, EngineDirectory]
) -> dict[Precision, EngineDirectory]:
    """Time engines in turns and store each latency in its sidecar, where ``--precision auto`` reads it."""
    latencies = median_latencies(bundle, backend, list(engines))
    return {name: record_latency(engine, latencies[name]) for name, engine in engines.items()}
