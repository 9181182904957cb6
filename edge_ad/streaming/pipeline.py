"""Capture, prepare and infer in their own threads, with bounded buffers between them.

    file:  capture ─► [2] ─► prepare ─► [2] ─► infer ─► [2] ─► the caller     every frame; the slowest sets the pace
    live:  capture ─► [newest] ─► prepare and infer ─► [2] ─► the caller      a frame not taken in time is dropped

Every stage closes the buffer behind it and turns away the buffer before it when it ends, for whatever reason, so no
thread ever waits for one that is gone. The first exception is raised again in the caller's thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from types import TracebackType
from typing import Any, TypeVar

from edge_ad.errors import DeviceError
from edge_ad.runtime.base import Engine
from edge_ad.streaming.buffers import Closed, FrameBuffer
from edge_ad.streaming.frame import Frame, Result
from edge_ad.streaming.inference import Prepared, infer_each, infer_in_flight, prepare
from edge_ad.streaming.sources.base import Source

__all__ = ["Pipeline"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_CAPACITY = 2
_JOIN_TIMEOUT_S = 10.0


class Pipeline:
    """Runs an open source through an open engine. Use as a context manager; leaving it ends its threads.

    Args:
        engine: An open engine.
        source: An open source.
        threshold: Raw score above which a frame is defective.
    """

    def __init__(self, engine: Engine, source: Source, threshold: float) -> None:
        self._source = source
        self._is_stopping = threading.Event()
        self._error: BaseException | None = None
        self._captured: FrameBuffer[Frame] = (
            FrameBuffer(1, keep_newest=True) if source.is_live else FrameBuffer(_CAPACITY)
        )
        self._prepared: FrameBuffer[Prepared] = FrameBuffer(_CAPACITY)
        self._results: FrameBuffer[Result] = FrameBuffer(_CAPACITY)
        self._threads = self._stages(engine, threshold)

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
        for thread in self._threads:
            thread.join(_JOIN_TIMEOUT_S)
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck and error is None:
            raise DeviceError(f"The stream could not be ended: {', '.join(stuck)} does not return.")

    @property
    def dropped(self) -> int:
        """Frames replaced by a newer one before the engine was free."""
        return self._captured.dropped

    def next_result(self, timeout: float | None = None) -> Result | None:
        """The next result, in the order of the frames.

        Args:
            timeout: Longest wait in seconds.

        Returns:
            The result, or None when the time is over.

        Raises:
            Closed: The stream has ended and every result was taken.
            Exception: Whatever ended a thread.
        """
        try:
            return self._results.get(timeout)
        except Closed:
            if self._error is not None:
                raise self._error from None
            raise

    def stop(self) -> None:
        """Capture no more; what was captured still comes out."""
        self._is_stopping.set()
        self._source.cancel()

    def _stages(self, engine: Engine, threshold: float) -> list[threading.Thread]:
        capture = self._thread("capture", self._frames(), None, self._captured)
        frames = _items(self._captured)
        if self._source.is_live:
            each = infer_each(engine, frames, threshold)
            return [capture, self._thread("inference", each, self._captured, self._results)]
        size_hw = engine.describe().input_size_hw
        prepared = (prepare(frame, size_hw) for frame in frames)
        in_flight = infer_in_flight(engine, _items(self._prepared), threshold)
        return [
            capture,
            self._thread("prepare", prepared, self._captured, self._prepared),
            self._thread("inference", in_flight, self._prepared, self._results),
        ]

    def _thread(
        self,
        name: str,
        produced: Generator[_Out, None, None],
        source: FrameBuffer[Any] | None,
        target: FrameBuffer[_Out],
    ) -> threading.Thread:
        return threading.Thread(target=self._run, args=(produced, source, target), name=f"stream-{name}", daemon=True)

    def _run(
        self, produced: Generator[_Out, None, None], source: FrameBuffer[Any] | None, target: FrameBuffer[_Out]
    ) -> None:
        try:
            with closing(produced):  # an engine with frames in flight is at rest before it can be closed
                for item in produced:
                    target.put(item)
        except Closed:
            pass  # whoever was to take it has ended, and said why
        except BaseException as error:  # raised again by next_result
            self._error = self._error or error
        finally:
            target.close()
            if source is not None:
                source.abort()

    def _frames(self) -> Generator[Frame, None, None]:
        index = 0
        while not self._is_stopping.is_set():
            started = time.perf_counter()
            image = self._source.read()
            if image is None:
                return
            captured_at = time.perf_counter()
            yield Frame(index, image, captured_at, time.time(), (captured_at - started) * 1e3)
            index += 1


def _items(buffer: FrameBuffer[_In]) -> Iterator[_In]:
    """What comes out of a buffer, until its end."""
    while True:
        try:
            item = buffer.get()
        except Closed:
            return
        if item is not None:
            yield item
