"""Latency on a clock that the test moves."""

import time

import numpy as np
import pytest

from edge_ad.runtime.timing import LatencyStats, measure, measure_stages


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


def test_the_stages_add_up_and_infer_takes_what_prepare_makes(clock: Clock) -> None:
    taken = []

    def prepare() -> str:
        clock.move_ms(3)
        return "frame"

    def infer(frame: str) -> None:
        taken.append(frame)
        clock.move_ms(7)

    stages = measure_stages(prepare, infer, min_runs=10, min_seconds=0)
    assert set(taken) == {"frame"}
    assert (stages.prepare.mean_ms, stages.infer.mean_ms, stages.total.mean_ms) == (3.0, 7.0, 10.0)
    assert stages.total.fps == 100.0
    assert stages.infer.fps == pytest.approx(1000 / 7)
    assert set(stages.to_dict()) == {"prepare", "infer", "total"}


def test_the_real_clock_measures_a_real_sleep() -> None:
    stats = measure(lambda: time.sleep(0.002), min_runs=5, min_seconds=0, warm_up_ms=0, warm_up_runs=1)
    assert stats.min_ms >= 2.0


def test_no_runs_are_no_statistics() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        LatencyStats.of([], 1)
