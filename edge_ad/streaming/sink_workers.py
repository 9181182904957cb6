"""Runs one sink: in the thread of the stream, or in its own thread behind a bounded queue."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError
from edge_ad.streaming.capture import Closed, FrameBuffer
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event, Result, Unjudged
from edge_ad.streaming.overlay import draw_overlay
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources.base import Source

__all__ = ["InlineWorker", "Picture", "SinkWorker", "ThreadWorker"]

_LOSSY_ROOM = 8
_LOSSLESS_ROOM = 32
_EVENT_ROOM = 1000  # events are rare and important: a queue full of results still takes them
_WAIT_S = 0.1
_JOIN_TIMEOUT_S = 30.0


class Picture:
    """The frame with its overlay; drawn once, when the first sink needs it, in that sink's thread.

    Args:
        result: What to draw.
        fps: Frame rate to show.
    """

    def __init__(self, result: Result, fps: float) -> None:
        self.result = result
        self._fps = fps
        self._drawn: NDArray[np.uint8] | None = None
        self._lock = threading.Lock()

    def drawn(self) -> NDArray[np.uint8]:
        """The picture, uint8 (H, W, 3) BGR; do not write to it."""
        with self._lock:
            if self._drawn is None:
                self._drawn = draw_overlay(self.result, fps=self._fps)
            return self._drawn


Item: TypeAlias = "Picture | Unjudged | Event"


class SinkWorker(ABC):
    """One sink of a running stream.

    Args:
        sink: The sink.
        name: What it is called in counts and messages.

    Attributes:
        drops: Results it was too slow for.
    """

    def __init__(self, sink: Sink, name: str) -> None:
        self.sink, self.name = sink, name
        self.drops = 0

    @property
    def lost(self) -> int:
        """Results lost: it was too slow for them, or the sink gave them up."""
        return self.drops + self.sink.dropped

    @abstractmethod
    def start(self, source: Source, control: StreamControl) -> None:
        """Begin; raises the error if the sink cannot."""

    @abstractmethod
    def give(self, item: Item, *, is_behind: bool, while_waiting: Callable[[], None]) -> None:
        """Pass on a result, an unjudged frame, or an event.

        Args:
            item: What to pass on.
            is_behind: Whether more results are waiting already.
            while_waiting: Called repeatedly while the queue is full; raises to give up.
        """

    def check(self) -> None:  # noqa: B027 - only a thread fails unseen
        """Raise the error of the sink, if it has failed."""

    def finish(self, error: BaseException | None) -> None:  # noqa: B027 - what has no thread waits for its `end`
        """Start completing the sink without waiting; it gets nothing more."""

    @abstractmethod
    def end(self, error: BaseException | None) -> None:
        """Complete the sink; raises its error, unless the stream failed before."""

    def _write(self, item: Item) -> None:
        match item:
            case Picture():
                self.sink.write(item.result, item.drawn() if self.sink.needs_picture else None)
            case Unjudged():
                self.sink.unjudged(item)
            case Event():
                self.sink.event(item)


class InlineWorker(SinkWorker):
    """A sink that must be called in the thread of the stream, such as a window: it skips what it is too slow for."""

    def start(self, source: Source, control: StreamControl) -> None:
        """Begin."""
        self.sink.__enter__()
        self.sink.attach(control)
        self.sink.begin(source)

    def give(self, item: Item, *, is_behind: bool, while_waiting: Callable[[], None]) -> None:
        """Pass on immediately; no picture is drawn when other results wait."""
        if is_behind and isinstance(item, Picture) and self.sink.needs_picture:
            self.drops += 1
        else:
            self._write(item)

    def end(self, error: BaseException | None) -> None:
        """Complete the sink."""
        self.sink.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


class ThreadWorker(SinkWorker):
    """A sink in its own thread, from begin to close.

    Args:
        sink: The sink.
        name: What it is called.
        is_lossy: Drop what does not fit into the queue, and continue after a failure. Otherwise the stream waits, and
            a failure ends it.
    """

    def __init__(self, sink: Sink, name: str, *, is_lossy: bool) -> None:
        super().__init__(sink, name)
        self._is_lossy = is_lossy
        self._queue: FrameBuffer[Item] = FrameBuffer(_LOSSY_ROOM if is_lossy else _LOSSLESS_ROOM)
        self._error: BaseException | None = None
        self._end_error: BaseException | None = None
        self._is_failing = False
        self._has_begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"stream-sink-{name}", daemon=True)

    def start(self, source: Source, control: StreamControl) -> None:
        """Begin in the thread, and wait for it."""
        self._source, self._control = source, control
        self._thread.start()
        self._has_begun.wait()
        self.check()

    def give(self, item: Item, *, is_behind: bool, while_waiting: Callable[[], None]) -> None:
        """Queue an item; raises the error of a sink that has failed."""
        try:
            if self._is_lossy:
                is_result = isinstance(item, Picture)
                if not self._queue.offer(item, None if is_result else _EVENT_ROOM):
                    self.drops += is_result
            else:
                while not self._queue.put(item, _WAIT_S):
                    while_waiting()
        except Closed:
            self.check()

    def check(self) -> None:
        """Raise the error that ended the sink's thread."""
        if self._error is not None:
            raise self._error

    def finish(self, error: BaseException | None) -> None:
        """Have the sink complete once the queue is empty."""
        self._end_error = error
        self._queue.close()

    def end(self, error: BaseException | None) -> None:
        """Finish, and wait for the sink to complete."""
        self.finish(error)
        self._thread.join(_JOIN_TIMEOUT_S)
        if error is not None:
            return
        if self._thread.is_alive():
            raise DeviceError(f"The sink {self.name} does not return.", "What it had not written yet is lost.")
        self.check()

    def _run(self) -> None:
        try:
            self.sink.__enter__()
            try:
                self.sink.attach(self._control)
                self.sink.begin(self._source)
                self._has_begun.set()
                self._serve()
            except BaseException as error:
                self._error = error
            error_seen = self._error or self._end_error
            trace = error_seen.__traceback__ if error_seen else None
            self.sink.__exit__(type(error_seen) if error_seen else None, error_seen, trace)
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._queue.abort()
            self._has_begun.set()

    def _serve(self) -> None:
        while True:
            try:
                item = self._queue.get()
            except Closed:
                return
            if item is None:
                continue
            try:
                self._write(item)
            except Exception as error:
                if not self._is_lossy:
                    raise
                self._report(error, is_result=isinstance(item, Picture))
            else:
                if isinstance(item, Picture):
                    self._recovered()
            del item  # keep no frame while the sink waits for the next one

    def _report(self, error: Exception, *, is_result: bool) -> None:
        self.drops += is_result
        if not self._is_failing:
            self._is_failing = True
            text = f"The sink {self.name} fails: {' '.join(str(error).split())}"
            self._control.emit(Event("alarm", time.time(), text=text, data={"alarm": self.name}))

    def _recovered(self) -> None:
        if self._is_failing:
            self._is_failing = False
            text = f"The sink {self.name} works again."
            self._control.emit(Event("alarm cleared", time.time(), text=text, data={"alarm": self.name}))
