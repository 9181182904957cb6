"""The delivering thread: takes results, applies limits, handles signals, reports progress."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from edge_ad.errors import DeviceError, EdgeAdError
from edge_ad.streaming.capture import Closed
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.delivery import Delivery
from edge_ad.streaming.frame import Result, Unjudged
from edge_ad.streaming.hot_swap import EngineSwaps
from edge_ad.streaming.losses import LossWatch, OutageWatch
from edge_ad.streaming.pipeline import Pipeline
from edge_ad.streaming.progress import Progress
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.statistics import StreamStatistics, Summary, total_unjudged
from edge_ad.streaming.triggers import Trigger
from edge_ad.streaming.watchdog import Watchdog

__all__ = ["Limits", "StopSignals", "StreamLoop"]

_HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
_POLL_S = 0.1
# How soon a signal or a time limit is noticed when no frame comes.
_MOST_DRAIN_S = 10.0


class StopSignals:
    """Inside, the first SIGINT, SIGTERM or SIGHUP is noted, and a second SIGINT or SIGTERM acts as usual.

    A closing terminal sends SIGHUP more than once, and a service manager may send it right after SIGTERM: later ones
    are ignored. Where SIGHUP is ignored already, as under nohup, it stays ignored.

    Outside the main thread, where Python allows no handlers, it notes nothing.

    Attributes:
        received: The signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
            if _HANG_UP is not None and signal.getsignal(_HANG_UP) is not signal.SIG_IGN:
                self._previous[_HANG_UP] = signal.signal(_HANG_UP, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore(*self._previous)

    @contextmanager
    def ending(self, cancels: Sequence[Callable[[], None]]) -> Iterator[None]:
        """Inside, a signal cancels what waits, such as connections being opened.

        What then cannot be opened is not an error: the signal acts as usual. A thread watches for the signal, since a
        handler must not take a lock.

        Args:
            cancels: Called on a signal; each may be called from any thread.
        """
        is_over = threading.Event()

        def watch() -> None:
            while not is_over.wait(_POLL_S):
                if self.received is not None:
                    for cancel in cancels:
                        cancel()
                    return

        watcher = threading.Thread(target=watch, name="stream-signals", daemon=True)
        watcher.start()
        try:
            yield
        except EdgeAdError:
            if self.received is not None:
                self._restore(*self._previous)
                signal.raise_signal(self.received)
            raise
        finally:
            is_over.set()
            watcher.join()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)
        if number != _HANG_UP:
            self._restore(signal.SIGINT, signal.SIGTERM)

    def _restore(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            if number in self._previous:
                signal.signal(number, self._previous.pop(number))


@dataclass(frozen=True)
class Limits:
    """When a stream ends by itself.

    Attributes:
        max_frames: After this many delivered frames; None for no limit.
        max_seconds: After this many seconds, with or without frames; None for no limit.
    """

    max_frames: int | None = None
    max_seconds: float | None = None


class StreamLoop:
    """Delivers the results of a pipeline.

    Args:
        pipeline: Running.
        sources: Its sources.
        control: Controls it.
        delivery: Takes the results.
        swaps: Swaps the bundle.
        limits: When to end.
        signals: Request the end.
        watchdog: Is told that the stream is alive.
        trigger: Chooses the frames; None for no trigger.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sources: Sequence[Source],
        control: StreamControl,
        delivery: Delivery,
        swaps: EngineSwaps,
        limits: Limits,
        signals: StopSignals,
        watchdog: Watchdog,
        trigger: Trigger | None = None,
    ) -> None:
        self._pipeline, self._sources, self._control = pipeline, sources, control
        self._delivery, self._swaps = delivery, swaps
        self._limits, self._signals, self._watchdog = limits, signals, watchdog
        self._statistics = StreamStatistics()
        self._outages = OutageWatch(sources, control)
        self._losses = LossWatch(sources, trigger, control)
        self._started_at = self._moved_at = time.perf_counter()
        self._is_ending = False
        self._give_up_at: float | None = None

    def run(self, on_progress: Callable[[Progress], None] | None) -> str:
        """Deliver until the end; returns what ended it."""
        self._control.report_from(self.progress)
        self._watchdog.ready()
        ended_by = None
        try:
            while (ended_by := ended_by or self._reason_to_end()) != "max frames":
                if ended_by is not None:
                    self._is_ending = True
                    self._pipeline.stop()  # and deliver what was captured before
                self._step()
                if on_progress is not None:
                    on_progress(self.progress())
        except Closed:
            return ended_by or self._reason_to_end() or "end of source"
        finally:
            self._is_ending = True
            self._watchdog.stopping()
            self._losses.look(is_last=True)
            self._delivery.end_observers()
            self._look_at_golden()
            self._delivery.events(while_waiting=self._while_waiting)
        return ended_by

    def summary(self, ended_by: str) -> Summary:
        """What was delivered."""
        return self._statistics.summary(
            source=", ".join(source.name for source in self._sources),
            ended_by=ended_by,
            seconds=time.perf_counter() - self._started_at,
            threshold=self._control.threshold,
            counters=self._pipeline.counters,
            gaps=[source.gaps for source in self._sources],
            sink_drops=self._delivery.drops,
            recorded=self._delivery.recorded,
            trail=self._delivery.trail_heads,
            bundle=self._control.bundle["hash"],
            swaps=self._swaps.count,
        )

    def progress(self) -> Progress:
        """Where the stream is; called from any thread."""
        sources = tuple(counter.progress() for counter in self._pipeline.counters)
        percentiles = self._statistics.percentiles()
        return Progress(
            frames=self._statistics.frames,
            defective=self._statistics.defective,
            fps=self._statistics.rate.recent_fps,
            dropped=sum(row.dropped for row in sources),
            reconnects=sum(row.reconnects for row in sources),
            seconds=time.perf_counter() - self._started_at,
            duplicates=sum(row.duplicates for row in sources),
            unjudged=total_unjudged(sources),
            corrupt=sum(row.corrupt for row in sources),
            latency_p50_ms=percentiles.latency_p50_ms,
            latency_p99_ms=percentiles.latency_p99_ms,
            age_p50_ms=percentiles.age_p50_ms,
            age_p99_ms=percentiles.age_p99_ms,
            sink_drops=self._delivery.drops,
            stalled_s=max(self._pipeline.stalled_s, time.perf_counter() - self._moved_at - _POLL_S, 0.0),
            is_ending=self._is_ending,
            sources=sources,
        )

    def _step(self) -> None:
        self._moved_at = time.perf_counter()
        item = self._pipeline.next_item(_POLL_S)
        self._delivery.check()
        if isinstance(item, Result):
            self._deliver(item)
        elif isinstance(item, Unjudged):
            self._delivery.unjudged(item, while_waiting=self._while_waiting)
        self._outages.look()
        self._losses.look()
        self._look_at_golden()
        self._swaps.refuse_requests()
        self._delivery.events(while_waiting=self._while_waiting)
        is_healthy = self._pipeline.stalled_s < self._watchdog.most_stalled_s
        self._watchdog.beat(is_healthy=is_healthy, status=self._status)

    def _look_at_golden(self) -> None:
        for event in self._control.golden.look(*self._control.judging):
            self._control.emit(event)

    def _deliver(self, result: Result) -> None:
        started = time.perf_counter()
        counter = self._pipeline.counters[result.frame.source_index]
        fps = counter.rate.recent_fps
        is_behind = self._pipeline.is_behind
        self._delivery.result(result, fps=fps, is_behind=is_behind, while_waiting=self._while_waiting)
        delivered_at = time.perf_counter()
        counter.add(result, delivered_at)
        self._statistics.update(result, delivered_at=delivered_at, deliver_ms=(delivered_at - started) * 1e3)

    def _reason_to_end(self) -> str | None:
        frames, seconds = self._limits.max_frames, self._limits.max_seconds
        if self._signals.received is not None:
            return "interrupted" if self._signals.received is signal.SIGINT else "terminated"
        if frames is not None and self._statistics.frames >= frames:
            return "max frames"
        if seconds is not None and time.perf_counter() - self._started_at >= seconds:
            return "max seconds"
        if self._control.is_stopped:
            return "stopped"
        return "window closed" if self._delivery.wants_end else None

    def _while_waiting(self) -> None:
        """Called while a sink makes the stream wait: no limit, except when the stream is to end."""
        if self._give_up_at is None:
            if self._reason_to_end() is not None:
                self._give_up_at = time.perf_counter() + _MOST_DRAIN_S
        elif time.perf_counter() >= self._give_up_at:
            raise DeviceError("A sink does not return.", "What it had not written yet is lost.")

    def _status(self) -> str:
        progress = self.progress()
        return f"{progress.frames} frames, {progress.defective} NG, {progress.fps:.1f} FPS, {progress.dropped} dropped"
