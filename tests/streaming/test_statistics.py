"""Counts, rates and percentiles of a stream."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from edge_ad.prediction import Prediction, Verdict
from edge_ad.streaming.frame import Frame, Result
from edge_ad.streaming.losses import GapLog
from edge_ad.streaming.statistics import DurationHistogram, FrameCounters, FrameRate, StreamStatistics
from tests.streaming.fakes import FakeSource


def _result(index: int, score: float = 0.5) -> Result:
    frame = Frame(index, np.zeros((2, 2, 3), np.uint8), 0.0, 0.0, capture_ms=4.0)
    prediction = Prediction(score, np.zeros((2, 2), np.float32))
    return Result(frame, prediction, Verdict.of(score, 1.0), prepare_ms=1.0, infer_ms=8.0, age_ms=20.0)


def test_ten_frames_per_second_are_ten_exactly() -> None:
    rate = FrameRate()
    for number in range(31):
        rate.add(100 + number / 10)
    assert rate.fps == pytest.approx(10.0, rel=1e-9)
    assert rate.recent_fps == pytest.approx(10.0, rel=1e-9)


def test_two_frames_have_one_interval() -> None:
    rate = FrameRate()
    rate.add(5.0)
    assert rate.fps == 0.0
    rate.add(5.1)
    assert rate.fps == pytest.approx(10.0)


def test_recent_rate_follows_a_change() -> None:
    rate = FrameRate()
    for number in range(100):
        rate.add(number / 10)
    for number in range(1, 40):
        rate.add(9.9 + number / 100)
    assert rate.recent_fps == pytest.approx(100.0)
    assert rate.fps < 20


@pytest.mark.parametrize("percent", [1, 50, 95, 99, 100])
def test_percentiles_agree_with_numpy_to_one_percent(percent: int) -> None:
    durations_ms = np.random.default_rng(3).lognormal(2.0, 1.0, 5000)
    histogram = DurationHistogram()
    for duration_ms in durations_ms:
        histogram.add(float(duration_ms))
    exact = np.percentile(durations_ms, percent, method="inverted_cdf")
    assert histogram.percentile_ms(percent) == pytest.approx(exact, rel=0.01)


def test_empty_histogram_and_durations_off_the_scale() -> None:
    histogram = DurationHistogram()
    assert histogram.summary()["p50_ms"] == 0.0
    histogram.add(0.0)
    histogram.add(1e12)
    assert histogram.percentile_ms(50) == pytest.approx(0.001, rel=0.01)
    assert histogram.max_ms == 1e12


def test_summary_counts_verdicts_and_is_plain_json() -> None:
    statistics, gaps = StreamStatistics(), GapLog()
    for index, score in enumerate((0.5, 1.0, 1.5, 3.0)):
        statistics.update(_result(index, score), delivered_at=index / 10, deliver_ms=0.1)
    gaps.add(0.0, 2.5, reconnected=True)
    counter = FrameCounters(FakeSource(None))
    counter.dropped = 7
    summary = statistics.summary(
        source="line", ended_by="end of source", seconds=0.4, threshold=1.0, counters=[counter], gaps=[gaps]
    )
    assert (summary.frames, summary.ok, summary.defective) == (4, 2, 2)
    plain = json.loads(json.dumps(summary.to_dict()))
    assert plain["fps"] == pytest.approx(10.0)
    assert plain["dropped"] == 7
    assert plain["newest_gaps"] == [{"start": "1970-01-01T00:00:00.000+00:00", "seconds": 2.5}]
    assert plain["stages_ms"]["infer"]["p50_ms"] == pytest.approx(8.0, rel=0.01)
    assert plain["stages_ms"]["age"]["mean_ms"] == 20.0


def test_memory_does_not_grow_with_frames_or_gaps() -> None:
    statistics, gaps, result = StreamStatistics(), GapLog(), _result(0)

    def run(frames: int) -> None:
        for index in range(frames):
            statistics.update(result, delivered_at=index / 10, deliver_ms=index % 50)
            gaps.add(index, 1.0, reconnected=True)

    tracemalloc.start()
    try:
        run(2000)
        before, _ = tracemalloc.get_traced_memory()
        run(10_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
    assert gaps.count == 12_000
    assert len(gaps.newest) == 100
