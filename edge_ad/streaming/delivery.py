"""Delivery of results and events to observers and sinks, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Result, Unjudged
from edge_ad.streaming.sink_workers import InlineWorker, Item, Picture, SinkWorker, ThreadWorker
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.verdicts import EndingObserver, NotFiniteAlarm, Observer

__all__ = ["Delivery", "Observer"]


class Delivery:
    """The observers and sinks of one stream. A context manager: entering starts the sinks, leaving completes them.

    Args:
        sinks: Where results go.
        observers: What sees each result first; one that checks for finite numbers is always among them.
        source: Described to the sinks when they begin.
        control: Collects the events of every thread.
        every_frame_counts: Whether the stream waits for slow sinks instead of losing frames.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        observers: Sequence[Observer],
        source: Source,
        control: StreamControl,
        *,
        every_frame_counts: bool,
    ) -> None:
        self._observers: Sequence[Observer] = (NotFiniteAlarm(), *observers)
        self._source, self._control = source, control
        names = _names(sinks)
        self._workers = [_worker(*pair, waits=every_frame_counts) for pair in zip(sinks, names, strict=True)]
        self._started: list[SinkWorker] = []

    def __enter__(self) -> Delivery:
        try:
            for worker in self._workers:
                worker.start(self._source, self._control)
                self._started.append(worker)
        except BaseException as error:
            self._end(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    @property
    def drops(self) -> dict[str, int]:
        """Name of a sink → results it lost, for every sink that may lose some."""
        return {worker.name: worker.lost for worker in self._workers if _may_lose(worker)}

    @property
    def recorded(self) -> dict[str, int]:
        """Name of a sink → judged frames it has stored, for every sink that records all of them."""
        return {worker.name: worker.sink.rows for worker in self._workers if worker.sink.rows is not None}

    @property
    def trail_heads(self) -> dict[str, str]:
        """Name of a sink → head of the trail it wrote, for every sink that writes one; known at the end."""
        return {worker.name: worker.sink.trail_head for worker in self._workers if worker.sink.trail_head}

    @property
    def wants_end(self) -> bool:
        """Whether the user ended the stream through a sink."""
        return any(worker.sink.wants_end for worker in self._workers)

    def result(self, result: Result, *, fps: float, is_behind: bool, while_waiting: Callable[[], None]) -> None:
        """Deliver a result, and what the observers make of it.

        Args:
            result: The result.
            fps: Frame rate to draw on its picture.
            is_behind: Whether more results are waiting already.
            while_waiting: Called while a sink makes the stream wait; raises to give up.
        """
        self._give(Picture(result, fps), is_behind=is_behind, while_waiting=while_waiting)
        for observer in self._observers:
            for event in observer.see(result):
                self._control.emit(event)

    def end_observers(self) -> None:
        """Deliver the events of observers that only the end of the stream decides."""
        for observer in self._observers:
            if isinstance(observer, EndingObserver):
                for event in observer.end():
                    self._control.emit(event)

    def unjudged(self, unjudged: Unjudged, *, while_waiting: Callable[[], None]) -> None:
        """Deliver a frame that is not judged."""
        self._give(unjudged, is_behind=False, while_waiting=while_waiting)

    def check(self) -> None:
        """Raise the error of a sink that failed since the last item."""
        for worker in self._workers:
            worker.check()

    def events(self, *, while_waiting: Callable[[], None]) -> None:
        """Deliver the events since the last call."""
        for event in self._control.take_events():
            self._give(event, is_behind=False, while_waiting=while_waiting)

    def _give(self, item: Item, *, is_behind: bool, while_waiting: Callable[[], None]) -> None:
        for worker in self._workers:
            worker.give(item, is_behind=is_behind, while_waiting=while_waiting)

    def _end(self, error: BaseException | None) -> None:
        first = error
        for worker in self._started:  # in parallel: each may take a few seconds for what waits
            worker.finish(error)
        while self._started:
            try:
                self._started.pop().end(first)
            except BaseException as failure:  # complete the others too; the first error is raised
                first = first or failure
        if first is not None and error is None:
            raise first


def _worker(sink: Sink, name: str, *, waits: bool) -> SinkWorker:
    if sink.delivery == "inline":
        return InlineWorker(sink, name)
    return ThreadWorker(sink, name, is_lossy=sink.delivery == "lossy" and not (waits and sink.waits_for_files))


def _may_lose(worker: SinkWorker) -> bool:
    return worker.sink.delivery == "lossy" or worker.lost > 0


def _names(sinks: Sequence[Sink]) -> list[str]:
    """A name for each sink, such as ``video``; a second one of a kind is ``video-2``."""
    names: list[str] = []
    for sink in sinks:
        kind = type(sink).__name__.removesuffix("Sink").strip("_").lower() or "sink"
        count = sum(name.partition("-")[0] == kind for name in names)
        names.append(kind if count == 0 else f"{kind}-{count + 1}")
    return names
