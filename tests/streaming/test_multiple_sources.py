"""Several sources into one engine: in turns, in batches, and none is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, UsageError
from edge_ad.prediction import Prediction
from edge_ad.streaming.session import Limits, run_stream
from tests.streaming.fakes import FakeEngine, ListSink, NumberedSource
from tests.streaming.results import wait_until


class Line(NumberedSource):
    """Knows when it is asked to end."""

    is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Recording(FakeEngine):
    """Notes how many frames each call brings; waits until each of the sources given has the next frame ready."""

    def __init__(self, sources: list[Line] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.batches: list[int] = []
        self.in_flight: list[int] = []
        self._sources, self._judged = sources or [], 0

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.batches.append(len(images))
        if (images != 127).any():  # the grey image of the warm-up comes before the sources are read
            self._judged += len(images)
            wanted = [self._wanted(source) for source in self._sources]
            wait_until(lambda: all(map(_has_read, self._sources, wanted)))
        return super()._infer(images)

    def _wanted(self, source: Line) -> int:
        """The one before the last that was read is ready; a file waits when two are."""
        if source.is_live:
            return source.reads + 2
        return min(source.frames or 0, self._judged // len(self._sources) + 2)

    def _infer_many(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Prediction]:
        self.in_flight.append(0)
        for prediction in super()._infer_many(frames):
            self.in_flight[-1] += 1
            yield prediction


def _has_read(source: Line, count: int) -> bool:
    return source.is_cancelled or source.reads >= count


def _sources(count: int, frames: int | None = None, **options: Any) -> list[Line]:
    return [Line(frames, name=f"line {number}", **options) for number in range(count)]


@pytest.mark.parametrize("is_live", [True, False])
def test_four_sources_get_the_engine_in_turns(is_live: bool) -> None:
    sources = _sources(4, None if is_live else 60, is_live=is_live, interval_s=0.001)
    with Recording(sources) as engine:
        summary = run_stream(engine, sources, threshold=1.0, limits=Limits(max_frames=200))
    counts = [row.frames for row in summary.sources]
    assert sum(counts) == 200
    assert max(counts) - min(counts) <= 0.1 * max(counts) + 1
    assert summary.source == "line 0, line 1, line 2, line 3"


def test_frames_keep_their_order_and_their_source(engine: FakeEngine) -> None:
    sink = ListSink()
    summary = run_stream(engine, _sources(3, 40), threshold=1.0, sinks=[sink])
    assert summary.frames == 120
    for number in range(3):
        own = [result for result in sink.results if result.frame.source_index == number]
        assert [result.frame.index for result in own] == list(range(40))
        assert {result.frame.source for result in own} == {f"line {number}"}


def test_waiting_frames_of_live_sources_go_through_the_engine_together() -> None:
    sources = _sources(4, is_live=True, interval_s=0.002)
    with Recording(sources) as engine:
        run_stream(engine, sources, threshold=1.0, limits=Limits(max_frames=60))
        assert max(engine.in_flight[1:]) == 4
        assert set(engine.batches) == {1}


@pytest.mark.parametrize("is_live", [True, False])
def test_whole_batches_go_in_one_call_and_rests_one_by_one(is_live: bool) -> None:
    sink = ListSink()
    sources = _sources(4, None if is_live else 23, is_live=is_live, interval_s=0.002 if is_live else 0.0)
    with Recording(sources) as engine:
        run_stream(engine, sources, threshold=1.0, sinks=[sink], batch=4, limits=Limits(max_frames=90))
        assert set(engine.batches) == {1, 4}  # no other size: some engines compile a graph for each
        assert engine.batches.count(4) > 5
    for number in range(4):
        indices = [result.frame.index for result in sink.results if result.frame.source_index == number]
        assert indices == sorted(set(indices))


def test_batch_of_one_judges_one_at_a_time() -> None:
    with Recording(seconds=0.002) as engine:
        sources = _sources(3, is_live=True, interval_s=0.001)
        run_stream(engine, sources, threshold=1.0, batch=1, limits=Limits(max_frames=30))
        assert engine.in_flight == []
    with pytest.raises(UsageError, match="at least one"):
        run_stream(engine, sources, threshold=1.0, batch=0)


def test_source_that_ends_leaves_the_others_running(engine: FakeEngine) -> None:
    summary = run_stream(engine, [*_sources(1, 3), NumberedSource(60, name="long")], threshold=1.0)
    assert [row.frames for row in summary.sources] == [3, 60]
    assert summary.ended_by == "end of source"


class Unplugged(NumberedSource):
    def read(self) -> NDArray[np.uint8] | None:
        if self.reads == 4:
            raise DeviceError(f"{self.name} is gone")
        return super().read()


def test_failure_of_one_source_ends_the_stream_and_closes_all(engine: FakeEngine) -> None:
    endless = NumberedSource(None, is_live=True, interval_s=0.001)
    broken = Unplugged(None, name="camera 1")
    with pytest.raises(DeviceError, match="camera 1 is gone"):
        run_stream(engine, [endless, broken], threshold=1.0)
    assert (endless.closes, broken.closes) == (1, 1)


def test_live_and_file_together_keep_every_frame_of_the_file() -> None:
    sources = [NumberedSource(80, is_live=True, interval_s=0.002), NumberedSource(30, name="file")]
    with FakeEngine(seconds=0.004) as engine:
        summary = run_stream(engine, sources, threshold=1.0)
    assert (summary.sources[1].frames, summary.sources[1].dropped) == (30, 0)
    assert summary.sources[0].frames + summary.sources[0].dropped == 80


def test_no_source_is_a_mistake(engine: FakeEngine) -> None:
    with pytest.raises(UsageError, match="no source"):
        run_stream(engine, [], threshold=1.0)


def test_result_of_a_slow_source_is_not_held_back_for_the_next_frame() -> None:
    class Deep(FakeEngine):
        """Has three frames in flight, as a backend with several requests."""

        def _infer_many(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Prediction]:
            waiting: list[Prediction] = []
            for frame in frames:
                waiting.append(self.infer(frame)[0])
                if len(waiting) == 3:
                    yield waiting.pop(0)
            yield from waiting

    class Slow(NumberedSource):
        """Gives a frame when the one before has its result."""

        def read(self) -> NDArray[np.uint8] | None:
            wait_until(lambda: len(sink.results) == self.reads)
            return super().read()

    sink = ListSink()
    with Deep() as engine:
        run_stream(engine, Slow(4), threshold=1.0, sinks=[sink])
    assert len(sink.results) == 4
