"""Sinks in their own threads: who may slow the stream, who may lose what, and what a failure does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, StorageError
from edge_ad.streaming import loop
from edge_ad.streaming import sink_workers as outlets
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sources import Source
from tests.streaming.fakes import FakeEngine, FakeSource, InlineSink, ListSink, LossySink
from tests.streaming.results import PATIENCE_S, no_thread_left, wait_until


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    with no_thread_left("stream-"):
        yield


def test_slow_lossy_sink_never_slows_the_stream_and_its_drops_are_counted(engine: FakeEngine) -> None:
    quick = ListSink()

    class Slow(LossySink):
        """Returns when the other sink has everything."""

        def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
            wait_until(lambda: len(quick.results) == 400)
            super().write(result, picture)

    slow = Slow()
    summary = run_stream(engine, FakeSource(400), threshold=1.0, sinks=[slow, quick])
    assert len(quick.results) == 400
    assert summary.sink_drops == {"slow": 400 - len(slow.results)}
    assert slow.is_closed


def test_slow_lossless_sink_makes_a_file_wait_and_loses_nothing(engine: FakeEngine) -> None:
    slow = ListSink(seconds=0.002)
    summary = run_stream(engine, FakeSource(200), threshold=1.0, sinks=[slow])
    assert [result.frame.index for result in slow.results] == list(range(200))
    assert summary.sink_drops == {}
    assert summary.seconds >= 160 * 0.002


class LossyOfLive(LossySink):
    waits_for_files = True


@pytest.mark.parametrize("is_live", [True, False])
def test_video_of_a_file_has_every_frame_and_that_of_a_live_source_slows_nothing(
    engine: FakeEngine, is_live: bool
) -> None:
    slow = LossyOfLive(seconds=0.02)
    source = FakeSource(40, is_live=is_live, interval_s=0.001)
    run_stream(engine, source, threshold=1.0, sinks=[slow])
    assert (len(slow.results) == 40) is not is_live


def test_inline_sink_skips_frames_that_others_wait_behind(engine: FakeEngine) -> None:
    window, records = InlineSink(seconds=0.01), ListSink()
    summary = run_stream(engine, FakeSource(60), threshold=1.0, sinks=[window, records])
    assert len(records.results) == 60
    assert len(window.results) + summary.sink_drops["inline"] == 60
    assert summary.sink_drops["inline"] > 0
    assert window.threads == {threading.current_thread().name}


def test_sink_is_begun_written_and_closed_in_one_thread_of_its_own(engine: FakeEngine) -> None:
    sink = ListSink()
    run_stream(engine, FakeSource(3), threshold=1.0, sinks=[sink])
    assert sink.threads == {"stream-sink-list"}


def test_failing_lossy_sink_raises_one_alarm_and_is_tried_again(engine: FakeEngine) -> None:
    failing, others = LossySink(fails_at=range(3, 6)), ListSink(seconds=0.001)
    summary = run_stream(engine, FakeSource(60), threshold=1.0, sinks=[failing, others])
    assert summary.frames == 60
    assert len(failing.results) + summary.sink_drops["lossy"] == 60
    assert [event.kind for event in others.events] == ["alarm", "alarm cleared"]
    assert "no space left" in others.events[0].text


def test_failing_lossless_sink_ends_the_stream_and_completes_the_others(engine: FakeEngine) -> None:
    source, failing, other = FakeSource(None), ListSink(fails_at=[5]), ListSink()
    with pytest.raises(StorageError, match="no space left"):
        run_stream(engine, source, threshold=1.0, sinks=[failing, other])
    assert source.closes == 1
    assert failing.is_closed
    assert other.is_closed


class Unwilling(ListSink):
    def begin(self, source: Source) -> None:
        raise DeviceError("no broker")


def test_sink_that_cannot_begin_keeps_the_stream_from_starting(engine: FakeEngine) -> None:
    source, first = FakeSource(None), ListSink()
    with pytest.raises(DeviceError, match="no broker"):
        run_stream(engine, source, threshold=1.0, sinks=[first, Unwilling()])
    assert (source.reads, source.closes, first.is_closed) == (0, 1, True)


class Stuck(ListSink):
    """Its write never returns until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over, self.is_stuck = threading.Event(), threading.Event()

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        self.is_stuck.set()
        self.over.wait(2 * PATIENCE_S)


class LossyStuck(Stuck):
    delivery = "lossy"


@pytest.mark.parametrize("kind", [Stuck, LossyStuck])
def test_sink_that_never_returns_ends_in_bounded_time_with_an_error(
    engine: FakeEngine, kind: type[Stuck], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_MOST_DRAIN_S", 0.2)
    monkeypatch.setattr(outlets, "_JOIN_TIMEOUT_S", 0.2)
    sink, control = kind(), StreamControl()

    def stop() -> None:
        sink.is_stuck.wait(PATIENCE_S)
        control.stop()

    threading.Thread(target=stop).start()
    try:
        with pytest.raises(DeviceError, match="does not return"):
            run_stream(engine, FakeSource(None), threshold=1.0, sinks=[sink], control=control)
    finally:
        sink.over.set()


class EveryTenth:
    def see(self, result: Result) -> Sequence[Event]:
        return [Event("part", 0.0)] if result.frame.index % 10 == 9 else []


def test_events_of_judges_reach_every_sink_right_after_their_frame(engine: FakeEngine) -> None:
    sink, lossy = ListSink(), LossySink()
    run_stream(engine, FakeSource(30), threshold=1.0, sinks=[sink, lossy], observers=[EveryTenth()])
    expected = [name for k in range(30) for name in ([f"frame {k}", "part"] if k % 10 == 9 else [f"frame {k}"])]
    assert sink.order == expected
    assert len(lossy.events) == 3


def test_threshold_changed_while_running_judges_later_frames_and_is_an_event(engine: FakeEngine) -> None:
    control, sink = StreamControl(), ListSink()

    class Changes:
        def see(self, result: Result) -> Sequence[Event]:
            if result.frame.index == 50:
                control.set_threshold(0.1, by="operator")
            return []

    run_stream(engine, FakeSource(100), threshold=2.0, sinks=[sink], observers=[Changes()], control=control)
    thresholds = [result.verdict.threshold for result in sink.results]
    assert set(thresholds) == {2.0, 0.1}
    assert thresholds == sorted(thresholds, reverse=True)
    assert sink.events[0].data == {"old": 2.0, "new": 0.1, "by": "operator"}


def test_picture_is_drawn_once_for_all_sinks_and_not_without_one(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def draw(result: Result, *, fps: float) -> NDArray[np.uint8]:
        drawn.append(result.frame.index)
        return result.frame.image

    monkeypatch.setattr(outlets, "draw_overlay", draw)

    class Painter(ListSink):
        needs_picture = True

    run_stream(engine, FakeSource(5), threshold=1.0, sinks=[ListSink()])
    assert drawn == []
    run_stream(engine, FakeSource(5), threshold=1.0, sinks=[Painter(), Painter()])
    assert sorted(drawn) == [0, 1, 2, 3, 4]


def test_stop_and_progress_work_from_another_thread(engine: FakeEngine) -> None:
    control = StreamControl()

    def stop() -> None:
        try:
            wait_until(lambda: control.progress().frames > 5 and control.progress().age_p50_ms > 0)
        finally:
            control.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    source = FakeSource(None, is_live=True, interval_s=0.002)
    summary = run_stream(engine, source, threshold=1.0, control=control)
    thread.join()
    progress = control.progress()
    assert summary.ended_by == "stopped"
    assert progress.frames == summary.frames
    assert progress.sources[0].frames == summary.frames
    assert 0 < progress.age_p50_ms <= progress.age_p99_ms < 1e3 * PATIENCE_S
