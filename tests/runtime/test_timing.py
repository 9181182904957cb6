"""Latency on a clock that the test moves."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from edge_ad.runtime.timing import LatencyStats, compare, measure


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 0

    def move_ms(self, duration_ms: float) -> None:
        self.now_ns += round(duration_ms * 1e6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter_ns", lambda: clock.now_ns)
    return clock


def test_the_statistics_are_numpys() -> None:
    durations_ns = np.random.default_rng(0).integers(1_000_000, 9_000_000, 500)
    stats = LatencyStats.of(durations_ns.tolist(), int(durations_ns.sum()))
    milliseconds = durations_ns / 1e6
    assert stats.mean_ms == pytest.approx(milliseconds.mean())
    assert stats.std_ms == pytest.approx(milliseconds.std())
    assert (stats.min_ms, stats.max_ms) == (milliseconds.min(), milliseconds.max())
    percentiles = (stats.p50_ms, stats.p90_ms, stats.p95_ms, stats.p99_ms)
    assert percentiles == pytest.approx(np.percentile(milliseconds, [50, 90, 95, 99]))
    assert stats.fps == pytest.approx(1000 / milliseconds.mean())
    assert stats.to_dict()["runs"] == 500


def test_a_steady_10_ms_is_exactly_100_fps(clock: Clock) -> None:
    stats = measure(lambda: clock.move_ms(10), min_runs=20, min_seconds=0)
    assert stats.fps == 100.0
    assert stats.p50_ms == stats.p99_ms == 10.0
    assert stats.runs == 20


def test_one_slow_run_is_in_the_tail_and_not_dropped(clock: Clock) -> None:
    durations_ms = iter([*[1.0] * 200, *[1.0] * 99, 500.0])
    stats = measure(lambda: clock.move_ms(next(durations_ms)), min_runs=100, min_seconds=0)
    assert stats.max_ms == 500.0
    assert stats.p99_ms > 1.0
    assert stats.fps == pytest.approx(100 / 0.599)


def test_the_warm_up_lasts_long_enough_and_is_not_counted(clock: Clock) -> None:
    started = []

    def run() -> None:
        started.append(clock.now_ns)
        clock.move_ms(1 if clock.now_ns >= 200e6 else 50)

    stats = measure(run, min_runs=5, min_seconds=0)
    assert len(started) == 4 + 6 + 5  # 200 ms, then up to 10 runs, then 5 timed
    assert stats.max_ms == 1.0


def test_it_measures_for_the_time_asked_for(clock: Clock) -> None:
    assert measure(lambda: clock.move_ms(10), min_runs=5, min_seconds=1.0).runs == 100


def test_the_ratio_of_two_in_turns_is_that_of_their_times(clock: Clock) -> None:
    comparison = compare(lambda: clock.move_ms(1), lambda: clock.move_ms(4), rounds=2, seconds=0.1)
    assert comparison.ratio_of_medians == 4.0
    assert comparison.ratio_per_round == [4.0, 4.0]
    assert (comparison.ours.p50_ms, comparison.theirs.p50_ms) == (1.0, 4.0)


def test_rounds_alternate_which_side_begins(clock: Clock) -> None:
    calls: list[str] = []

    def side(name: str) -> Callable[[], None]:
        def run() -> None:
            calls.append(name)
            clock.move_ms(1)

        return run

    compare(side("a"), side("b"), rounds=4, seconds=0.004)
    blocks = [name for name, before in zip(calls, ["", *calls], strict=False) if name != before]
    # Warm-up a, b; then a b | b a | a b | b a, where neighbours of the same side join.
    assert blocks == ["a", "b", "a", "b", "a", "b", "a"]


def test_every_round_is_measured_even_when_one_run_takes_longer_than_the_time(clock: Clock) -> None:
    comparison = compare(lambda: clock.move_ms(2), lambda: clock.move_ms(2), rounds=3, seconds=0.001)
    assert comparison.ours.runs == comparison.theirs.runs == 9


def test_no_runs_are_no_statistics() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        LatencyStats.of([], 1)
