"""Faults that a stream must survive, or end from cleanly."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from edge_ad.errors import DeviceError
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.session import Limits, run_stream
from edge_ad.streaming.sources import reconnecting
from edge_ad.streaming.sources.reconnecting import ReconnectingSource
from tests.streaming.fakes import FakeEngine, FakeSource, ListSink, NumberedSource, number_of
from tests.streaming.results import PATIENCE_S, no_thread_left, wait_until


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    with no_thread_left("stream-"):
        yield


class Restarts(NumberedSource):
    """Goes away after every third frame; the first attempt to open it again fails, as with a camera that boots."""

    def __init__(self, kills: int) -> None:
        super().__init__(3 * (kills + 1), is_live=True, interval_s=0.0005)
        self._kills, self._is_up, self._attempts = kills, False, 1

    def open(self) -> None:
        self._attempts += 1
        if self._attempts % 2:
            raise DeviceError("no answer")
        self._is_up = True

    def read(self) -> NDArray[np.uint8] | None:
        if self._kills and self.reads == 3 * (101 - self._kills):
            self._kills -= 1
            self._is_up = False
        return super().read() if self._is_up else None


def test_source_killed_and_restarted_a_hundred_times_misses_nothing(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconnecting, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(reconnecting, "_LONGEST_PAUSE_S", 0.002)
    sink, flapping = ListSink(), Restarts(100)
    source = ReconnectingSource(flapping)
    limits = Limits(max_frames=303, max_seconds=5 * PATIENCE_S)
    process = psutil.Process()
    descriptors, threads = process.num_fds(), process.num_threads()
    summary = run_stream(engine, source, threshold=1.0, sinks=[sink], policy="every", limits=limits)
    assert (summary.frames, summary.ended_by) == (303, "max frames")
    assert (summary.gaps - summary.reconnects, summary.reconnects) in ((0, 100), (1, 100))
    assert [number_of(result.frame.image) for result in sink.results] == list(range(1, 304))
    assert [event.kind for event in sink.events][:200] == ["source lost", "source returned"] * 100
    wait_until(lambda: process.num_fds() <= descriptors)
    wait_until(lambda: process.num_threads() <= threads)  # the kernel ends a thread a moment after it was joined


@pytest.mark.parametrize("is_live", [True, False])
def test_wall_clock_that_jumps_changes_no_age_no_rate_and_no_limit(
    engine: FakeEngine, is_live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps, real = itertools.cycle([0.0, 86_400.0, -86_400.0, 3e7]), time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    sink, started = ListSink(), time.perf_counter()
    source = FakeSource(None, is_live=is_live, interval_s=0.01)
    summary = run_stream(engine, source, threshold=1.0, sinks=[sink], limits=Limits(max_seconds=0.5))
    # A jump is a day at least; what a busy machine makes of half a second is less.
    assert 0.5 <= time.perf_counter() - started < PATIENCE_S
    assert summary.ended_by == "max seconds"
    assert 0 <= summary.fps < 1000
    assert all(0 <= result.age_ms < 1e3 * PATIENCE_S for result in sink.results)
    assert 0.5 <= summary.seconds < PATIENCE_S


class Torn(FakeSource):
    """From its fourth frame on it gives no image: what a driver should never give."""

    def read(self) -> NDArray[np.uint8] | None:
        image = super().read()
        return np.zeros((0, 0, 3), np.uint8) if self.reads >= 4 else image


@pytest.mark.parametrize("is_live", [True, False])
def test_error_of_any_stage_ends_the_stream_and_is_the_one_shown(engine: FakeEngine, is_live: bool) -> None:
    source, sink = Torn(None, is_live=is_live, interval_s=0.01), ListSink()
    with pytest.raises(Exception, match=r"empty|size"):
        run_stream(engine, source, threshold=1.0, sinks=[sink], limits=Limits(max_seconds=PATIENCE_S))
    assert len(sink.results) <= 3
    assert source.closes == 1
    assert sink.is_closed


def test_failing_judge_ends_the_stream_cleanly(engine: FakeEngine) -> None:
    class Broken:
        def see(self, result: object) -> list[object]:
            raise ZeroDivisionError

    source, sink = FakeSource(None), ListSink()
    with pytest.raises(ZeroDivisionError):
        run_stream(engine, source, threshold=1.0, sinks=[sink], observers=[Broken()])  # type: ignore[list-item]
    assert source.closes == 1
    assert sink.is_closed


def test_threads_that_steer_at_once_do_no_harm(engine: FakeEngine) -> None:
    control, sink = StreamControl(), ListSink()
    is_over = threading.Event()

    def steer(number: int) -> None:
        while not is_over.wait(0.001):
            control.set_threshold(float(number), by=str(number))
            control.pause("x")
            control.resume("x")
            control.progress()

    def end() -> None:
        try:
            wait_until(lambda: len(sink.results) > 20 and control.progress().frames > 20)
        finally:
            control.stop()

    steering = [threading.Thread(target=steer, args=(number,)) for number in range(3)]
    steering.append(threading.Thread(target=end))
    for thread in steering:
        thread.start()
    source = NumberedSource(None, is_live=True, interval_s=0.002)
    summary = run_stream(engine, source, threshold=1.0, sinks=[sink], control=control)
    is_over.set()
    for thread in steering:
        thread.join()
    total = summary.frames + summary.dropped + sum(summary.unjudged.values()) + summary.undelivered
    assert total == source.source_count
    assert len(sink.results) == summary.frames > 20
