"""One stream from its first frame to its summary: what `edge-ad stream`, the demo and the benchmarks run."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_ad.runtime.base import Engine
from edge_ad.streaming.buffers import Closed
from edge_ad.streaming.frame import Result
from edge_ad.streaming.inference import warm_up
from edge_ad.streaming.overlay import draw_overlay
from edge_ad.streaming.pipeline import Pipeline
from edge_ad.streaming.progress import Progress
from edge_ad.streaming.signals import StopSignals
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.statistics import StreamStatistics, Summary

__all__ = ["Limits", "Progress", "run_stream"]

# How soon a signal or a time limit is noticed when no frame comes.
_POLL_S = 0.1


@dataclass(frozen=True)
class Limits:
    """When a stream ends by itself.

    Attributes:
        max_frames: After so many delivered frames; None for no limit.
        max_seconds: After so many seconds, frames or no frames; None for no limit.
    """

    max_frames: int | None = None
    max_seconds: float | None = None


def run_stream(
    engine: Engine,
    source: Source,
    *,
    threshold: float,
    sinks: Sequence[Sink] = (),
    limits: Limits | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Judge the frames of a source until it ends, a limit is reached, or SIGINT or SIGTERM comes.

    Args:
        engine: An open engine.
        source: A source, not open yet; opened and closed here.
        threshold: Raw score above which a frame is defective.
        sinks: Where results go, in this order; opened and closed here.
        limits: When to end; None for no limit.
        on_progress: Called about every 0.1 s at least, and for every frame, in this thread.

    Returns:
        What the stream did; ``ended_by`` says why it ended.

    Raises:
        DataError: A file that cannot be read.
        DeviceError: A camera or stream that does not answer or was gone for too long.
        StorageError: A sink that cannot write.
    """
    with StopSignals() as signals, ExitStack() as stack:
        stack.enter_context(source)
        for sink in sinks:
            stack.enter_context(sink)
            sink.begin(source)
        warm_up(engine, is_live=source.is_live)
        pipeline = stack.enter_context(Pipeline(engine, source, threshold))
        session = _Session(pipeline, source, threshold, sinks, limits or Limits(), signals)
        ended_by = session.run(on_progress)
    return session.summary(ended_by)


class _Session:
    """The delivering end of a pipeline."""

    def __init__(
        self,
        pipeline: Pipeline,
        source: Source,
        threshold: float,
        sinks: Sequence[Sink],
        limits: Limits,
        signals: StopSignals,
    ) -> None:
        self._pipeline, self._source, self._sinks = pipeline, source, sinks
        self._threshold, self._limits, self._signals = threshold, limits, signals
        self._statistics = StreamStatistics()
        self._started_at = time.perf_counter()

    def run(self, on_progress: Callable[[Progress], None] | None) -> str:
        """Deliver until the end and say what ended it."""
        ended_by = None
        try:
            while (ended_by := ended_by or self._reason_to_end()) != "max frames":
                if ended_by is not None:
                    self._pipeline.stop()  # and deliver what was captured before
                if (result := self._pipeline.next_result(_POLL_S)) is not None:
                    self._deliver(result)
                if on_progress is not None:
                    on_progress(self._progress())
        except Closed:
            return ended_by or self._reason_to_end() or "end of source"
        return ended_by

    def summary(self, ended_by: str) -> Summary:
        """What was delivered."""
        return self._statistics.summary(
            source=self._source.name,
            ended_by=ended_by,
            seconds=time.perf_counter() - self._started_at,
            threshold=self._threshold,
            dropped=self._pipeline.dropped,
            gaps=self._source.gaps,
        )

    def _reason_to_end(self) -> str | None:
        frames, seconds = self._limits.max_frames, self._limits.max_seconds
        if self._signals.received is not None:
            return "interrupted" if self._signals.received is signal.SIGINT else "terminated"
        if frames is not None and self._statistics.frames >= frames:
            return "max frames"
        if seconds is not None and time.perf_counter() - self._started_at >= seconds:
            return "max seconds"
        return "window closed" if any(sink.wants_end for sink in self._sinks) else None

    def _deliver(self, result: Result) -> None:
        started = time.perf_counter()
        picture = self._picture(result)
        for sink in self._sinks:
            sink.write(result, picture if sink.needs_picture else None)
        delivered_at = time.perf_counter()
        self._statistics.update(result, delivered_at=delivered_at, deliver_ms=(delivered_at - started) * 1e3)

    def _picture(self, result: Result) -> NDArray[np.uint8] | None:
        if not any(sink.needs_picture for sink in self._sinks):
            return None  # drawing costs more than judging on a small device
        return draw_overlay(result, fps=self._statistics.rate.recent_fps)

    def _progress(self) -> Progress:
        return Progress(
            frames=self._statistics.frames,
            defective=self._statistics.defective,
            fps=self._statistics.rate.recent_fps,
            dropped=self._pipeline.dropped,
            reconnects=self._source.gaps.reconnects,
            seconds=time.perf_counter() - self._started_at,
        )
