"""The threads of a stream: order, drops, crashes, ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.streaming.capture import Closed
from edge_ad.streaming.frame import Result
from edge_ad.streaming.pipeline import Pipeline
from tests.streaming.fakes import FakeEngine, FakeSource, pipeline_of
from tests.streaming.results import PATIENCE_S, no_thread_left, wait_until

_TIMEOUT_S = PATIENCE_S


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    with no_thread_left("stream-"):
        yield


class BrokenSource(FakeSource):
    def read(self) -> NDArray[np.uint8] | None:
        if self.reads == 3:
            raise DataError("image 3 is damaged")
        return super().read()


def _results(pipeline: Pipeline) -> Iterator[Result]:
    deadline = time.perf_counter() + _TIMEOUT_S
    while time.perf_counter() < deadline:
        try:
            result = pipeline.next_item(timeout=0.1)
        except Closed:
            return
        if isinstance(result, Result):
            yield result
    raise AssertionError("the pipeline hangs")


def test_file_is_judged_frame_by_frame_in_order(engine: FakeEngine) -> None:
    with pipeline_of(engine, FakeSource(200)) as pipeline:
        results = list(_results(pipeline))
    assert [result.frame.index for result in results] == list(range(200))
    assert [result.prediction.score for result in results] == pytest.approx([k / 128 for k in range(200)])
    assert [result.verdict.is_anomalous for result in results] == [k > 128 for k in range(200)]
    assert pipeline.counters[0].dropped == 0


def test_slow_engine_makes_a_file_wait_and_drops_nothing() -> None:
    with FakeEngine(seconds=0.01) as engine, pipeline_of(engine, FakeSource(30)) as pipeline:
        assert len(list(_results(pipeline))) == 30
    assert pipeline.counters[0].dropped == 0


def test_slow_engine_gets_the_newest_frame_of_a_live_source_and_drops_are_counted() -> None:
    source, begun = FakeSource(100, is_live=True, interval_s=0.001), list[int]()

    class Slow(FakeEngine):
        """Takes five frames of the source for each."""

        def warm_up(self, runs: int = 3) -> None:
            pass

        def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            begun.append(source.reads)
            wait_until(lambda: source.reads >= min(100, begun[-1] + 5))
            return super()._infer(images)

    with Slow() as engine, pipeline_of(engine, source) as pipeline:
        results = list(_results(pipeline))
    assert len(results) + pipeline.counters[0].dropped == 100
    assert pipeline.counters[0].dropped > 50
    for read, result in zip(begun, results[1:], strict=False):
        # It was the newest when the one before it was begun, or is newer; a queue would fall behind.
        assert result.frame.index >= read - 2
    assert results[-1].frame.index == 99


def test_times_of_the_stages_are_measured() -> None:
    class Slow(FakeSource):
        def read(self) -> NDArray[np.uint8] | None:
            time.sleep(0.03)
            return super().read()

    source = Slow(5, is_live=True, size_hw=(64, 64))
    with FakeEngine(seconds=0.02) as engine, pipeline_of(engine, source) as pipeline:
        result = list(_results(pipeline))[-1]
    assert result.frame.capture_ms >= 29
    assert result.infer_ms >= 19
    assert result.prepare_ms > 0
    assert result.age_ms >= result.prepare_ms + result.infer_ms


@pytest.mark.parametrize("is_live", [True, False])
def test_crash_of_the_engine_is_raised_here_and_nothing_hangs(is_live: bool) -> None:
    source = FakeSource(None, is_live=is_live, interval_s=0.001)
    taken: list[Result] = []
    with (
        FakeEngine(crash_at=5) as engine,
        pytest.raises(RuntimeError, match="the engine crashed"),
        pipeline_of(engine, source) as pipeline,
    ):
        taken.extend(_results(pipeline))
    assert len(taken) <= 5


def test_failure_of_the_source_comes_after_the_frames_before_it(engine: FakeEngine) -> None:
    with pipeline_of(engine, BrokenSource(10)) as pipeline:
        results = _results(pipeline)
        assert [next(results).frame.index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DataError, match="image 3 is damaged"):
            next(results)


def test_crash_of_the_caller_ends_the_threads(engine: FakeEngine) -> None:
    def crash() -> None:
        with pipeline_of(engine, FakeSource(None)) as pipeline:
            pipeline.next_item(timeout=_TIMEOUT_S)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()


@pytest.mark.parametrize("is_live", [True, False])
def test_stop_delivers_what_was_captured_and_ends(engine: FakeEngine, is_live: bool) -> None:
    source = FakeSource(None, is_live=is_live, interval_s=0.001)
    with pipeline_of(engine, source) as pipeline:
        first = pipeline.next_item(timeout=_TIMEOUT_S)
        pipeline.stop()
        rest = list(_results(pipeline))
    assert first is not None
    assert 1 + len(rest) + pipeline.counters[0].dropped == source.reads


def test_engine_is_at_rest_when_the_pipeline_is_left() -> None:
    events: list[str] = []

    class InFlight(FakeEngine):
        def _infer_many(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Any]:
            try:
                yield from super()._infer_many(frames)
            finally:
                events.append("at rest")

        def _close(self) -> None:
            events.append("closed")

    with InFlight() as engine, pipeline_of(engine, FakeSource(None)) as pipeline:
        pipeline.next_item(timeout=_TIMEOUT_S)
    assert events == ["at rest", "closed"]
