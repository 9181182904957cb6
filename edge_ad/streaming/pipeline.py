"""Capture, prepare and infer in their own threads, with bounded buffers between them.

    every:   capture ─► [2 each] ─► prepare ─► [2] ─► infer ─► [2] ─► the caller    the slowest sets the pace
    newest:  capture ─► [newest each] ─► prepare and infer ─► [2] ─► the caller     what is not taken in time is dropped

Each source has its own capture thread and lane; the next stage takes from the lanes in turns. When a stage ends, for
whatever reason, it closes the buffer after it and aborts the one before it, so no thread ever waits for one that is
gone. The first exception ends every source and is raised again in the caller's thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Literal

from edge_ad.errors import DeviceError
from edge_ad.streaming.active_engine import ActiveEngine
from edge_ad.streaming.capture import Capture, Closed, FairBuffer, FrameBuffer
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.filters import FilterOptions
from edge_ad.streaming.frame import Frame, Result, Unjudged
from edge_ad.streaming.inference import Inference, Prepared, prepare
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.statistics import FrameCounters

__all__ = ["Pipeline", "Policy", "keeps_newest"]

Policy = Literal["auto", "newest", "every"]

_CAPACITY = 2
_ROOM_FOR_UNJUDGED = 16
_JOIN_TIMEOUT_S = 10.0
_MOST_LAST_READ_S = 1.0  # for a cancelled source: a peer that hangs must not hold the stream


def keeps_newest(source: Source, policy: Policy) -> bool:
    """Whether only the newest frame of a source counts: of a live one, unless the policy says otherwise."""
    return source.is_live if policy == "auto" else policy == "newest"


class Pipeline:
    """Runs open sources through the active engine. A context manager: leaving it ends its threads.

    Args:
        active: Gives the engine.
        sources: Open sources.
        control: Gives the threshold, and may pause.
        policy: ``"newest"`` drops what is not taken in time, ``"every"`` drops nothing, ``"auto"`` is newest for live
            sources and every for others.
        batch: Frames per call of the engine; None has several calls in flight instead.
        filters: Region, frame health and trigger.
        counts: Reason → whether a frame that is not judged for it, such as ``"black"``, is defective all the same.

    Attributes:
        counters: What became of the frames, for each source.
    """

    def __init__(
        self,
        active: ActiveEngine,
        sources: Sequence[Source],
        control: StreamControl,
        *,
        policy: Policy = "auto",
        batch: int | None = None,
        filters: FilterOptions | None = None,
        counts: Callable[[str], bool] = lambda reason: False,
    ) -> None:
        self.counters = [FrameCounters(source) for source in sources]
        self._sources, self._active = sources, active
        self._is_stopping = threading.Event()
        self._error: BaseException | None = None
        newest = [keeps_newest(source, policy) for source in sources]
        self._is_newest = newest
        self._most = batch or len(sources)
        capacity = max(_CAPACITY, batch or 0)
        self._captured: FairBuffer[Frame] = FairBuffer(
            _CAPACITY, newest, on_drop=lambda frame: active.finished(frame.setup)
        )
        self._prepared: FrameBuffer[Prepared] = FrameBuffer(capacity)
        self._results: FrameBuffer[Result | Unjudged] = FrameBuffer(capacity)
        self._counts = counts
        self._inference = Inference(active, control, batch, counts)
        options = filters or FilterOptions()
        self._stopped_at: float | None = None
        self._captures = captures = [
            Capture(
                source,
                index,
                self.counters[index],
                options,
                control,
                self._is_stopping,
                active,
                counts,
            )
            for index, source in enumerate(sources)
        ]
        self._threads = self._stages(captures)

    def __enter__(self) -> Pipeline:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for buffer in (self._captured, self._prepared, self._results):
            buffer.abort()
        captures, others = self._threads[: len(self._captures)], self._threads[len(self._captures) :]
        for thread in captures:
            thread.join(self._last_read_s())
        for thread in others:
            thread.join(_JOIN_TIMEOUT_S)
        stuck = [thread.name for thread in others if thread.is_alive()]
        if stuck and error is None:
            raise DeviceError(f"The stream could not be ended: {', '.join(stuck)} does not return.")

    @property
    def is_behind(self) -> bool:
        """Whether more results are waiting to be delivered."""
        return len(self._results) > 0

    @property
    def frame_sizes(self) -> list[tuple[int, int]]:
        """Height and width of the newest frame of each source that has given one, in pixels."""
        return [size for capture in self._captures if (size := capture.newest_size_hw) is not None]

    @property
    def stalled_s(self) -> float:
        """Seconds since the engine last gave a result while it holds frames; 0 while it holds none."""
        return self._inference.stalled_s

    def next_item(self, timeout: float | None = None) -> Result | Unjudged | None:
        """The next result, in the order of each source's frames, or a frame that is not judged.

        Args:
            timeout: Longest wait in seconds.

        Returns:
            The item, or None when the time is over.

        Raises:
            Closed: The stream has ended and everything was taken.
            Exception: Whatever ended a thread.
        """
        try:
            item = self._results.get(timeout)
        except Closed:
            if self._error is not None:
                raise self._error from None
            raise
        if item is not None:
            self._active.finished(item.frame.setup)
        return item

    def stop(self) -> None:
        """Stop capturing; what was captured still comes out, if the engine is there.

        A later call gives up the sources whose read has still not returned.
        """
        self._is_stopping.set()
        if self._stopped_at is None:
            self._stopped_at = time.perf_counter()
        for source in self._sources:
            source.cancel()
        self._active.give_up()
        if not self._last_read_s():
            for lane, capture in enumerate(self._captures):
                if capture.is_reading:
                    self._captured.close(lane)

    def _last_read_s(self) -> float:
        """Seconds for which a read is still waited for."""
        stopped_at = self._stopped_at or time.perf_counter()
        return max(0.0, _MOST_LAST_READ_S - (time.perf_counter() - stopped_at))

    def _stages(self, captures: Sequence[Capture]) -> list[threading.Thread]:
        threads = [
            self._thread(f"capture-{lane}", self._capture, (capture, lane), self._end_of_lane(lane))
            for lane, capture in enumerate(captures)
        ]
        if any(self._is_newest):
            return [*threads, self._thread("inference", self._infer_newest, (), self._end_of_results)]
        return [
            *threads,
            self._thread("prepare", self._prepare, (), self._end_of_prepared),
            self._thread("inference", self._infer_every, (), self._end_of_results),
        ]

    def _thread(
        self, name: str, work: Callable[..., None], arguments: tuple[object, ...], end: Callable[[], None]
    ) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except Closed:
                pass  # the stage before or after has ended, and reported why
            except BaseException as error:  # raised again by next_item
                self._error = self._error or error
                self.stop()
            finally:
                end()

        return threading.Thread(target=run, name=f"stream-{name}", daemon=True)

    def _capture(self, capture: Capture, lane: int) -> None:
        counter = self.counters[lane]
        for item in capture.frames():
            if isinstance(item, Frame):
                self._captured.put(lane, item)
                counter.dropped = self._captured.dropped(lane)
            elif self._is_newest[lane]:
                self._results.offer(item, _ROOM_FOR_UNJUDGED)  # counted only: reporting it must not cost a frame
            else:
                self._results.put(item)

    def _prepare(self) -> None:
        while True:
            for frame in self._captured.take():
                item = prepare(frame, self._active.of(frame.setup), self._counts)
                if isinstance(item, Unjudged):
                    self._results.put(self._counted(item))
                else:
                    self._prepared.put(item)

    def _infer_newest(self) -> None:
        self._deliver(self._inference.newest(lambda timeout: self._captured.take(self._most, timeout)))

    def _infer_every(self) -> None:
        self._deliver(self._inference.every(self._prepared.get))

    def _deliver(self, results: Generator[Result | Unjudged, None, None] | Generator[Result, None, None]) -> None:
        with closing(results):  # finish the frames in flight before the engine can be closed
            for result in results:
                self._results.put(self._counted(result) if isinstance(result, Unjudged) else result)

    def _counted(self, item: Unjudged) -> Unjudged:
        self.counters[item.frame.source_index].unjudged[item.reason] += 1
        return item

    def _end_of_lane(self, lane: int) -> Callable[[], None]:
        return lambda: self._captured.close(lane)

    def _end_of_prepared(self) -> None:
        self._prepared.close()
        self._captured.abort()

    def _end_of_results(self) -> None:
        self._results.close()
        self._prepared.abort()
        self._captured.abort()
