"""Capture: reads a source in a thread, into buffers that wait or drop frames when inference is slower."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from edge_ad.photo_spec import PhotoSpec
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.filters import FilterOptions, FrameFilter, FrameShape
from edge_ad.streaming.frame import Frame, Unjudged
from edge_ad.streaming.golden.state import GOLDEN_CHECK
from edge_ad.streaming.recipe import Recipe
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.statistics import FrameCounters

__all__ = ["ActiveSetup", "Capture", "Closed", "FairBuffer", "FixedSetup", "FrameBuffer"]

_LASTING = frozenset({"another size", "another shape"})  # the next frame will be no better

_Item = TypeVar("_Item")


class Closed(Exception):  # noqa: N818 - an end, not an error
    """A buffer is closed: nothing more can be taken, or put."""


class FrameBuffer(Generic[_Item]):
    """A bounded FIFO buffer that either side can close, so that no thread waits for one that is gone.

    Args:
        capacity: Most items it holds.
    """

    def __init__(self, capacity: int) -> None:
        self._items: deque[_Item] = deque()
        self._capacity = capacity
        self._is_closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: _Item, timeout: float | None = None) -> bool:
        """Add an item; waits while the buffer is full.

        Args:
            item: What to add.
            timeout: Longest wait in seconds; None waits until it is not full, or closed.

        Returns:
            Whether it was added; False when the time is over.

        Raises:
            Closed: The consumer is gone.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._capacity or self._is_closed, timeout)
            return self._add(item, self._capacity)

    def offer(self, item: _Item, limit: int | None = None) -> bool:
        """Add an item if the buffer is not full, and never wait.

        Args:
            item: What to add.
            limit: Most items the buffer may hold for this one; its capacity if not given.

        Raises:
            Closed: The consumer is gone.
        """
        with self._changed:
            return self._add(item, self._capacity if limit is None else limit)

    def get(self, timeout: float | None = None) -> _Item | None:
        """Take the oldest item; waits while the buffer is empty.

        Args:
            timeout: Longest wait in seconds; None waits for an item or the end.

        Returns:
            The item, or None when the time is over.

        Raises:
            Closed: The producer is gone and everything has been taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_closed, timeout)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._is_closed:
                raise Closed
            return None

    def close(self) -> None:
        """Close from the producer's side: what is inside can still be taken, nothing more can be put."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Close from the consumer's side: discard what is inside; the producer gets `Closed`."""
        with self._changed:
            self._items.clear()
            self._is_closed = True
            self._changed.notify_all()

    def _add(self, item: _Item, limit: int) -> bool:
        if self._is_closed:
            raise Closed
        if len(self._items) >= limit:
            return False
        self._items.append(item)
        self._changed.notify_all()
        return True


class FairBuffer(Generic[_Item]):
    """One bounded lane for each producer; the consumer takes from them in turns.

    Args:
        capacity: Most items a lane holds where every item counts.
        keep_newest: For each lane: hold one item and replace it by a newer one, instead of making the producer wait.
        on_drop: Called with each item that a newer one replaces.
    """

    def __init__(
        self, capacity: int, keep_newest: Sequence[bool], on_drop: Callable[[_Item], None] = lambda item: None
    ) -> None:
        self._on_drop = on_drop
        self._keep_newest = tuple(keep_newest)
        self._capacities = [1 if newest else capacity for newest in keep_newest]
        self._lanes: list[deque[_Item]] = [deque() for _ in keep_newest]
        self._open = [True] * len(self._lanes)
        self._dropped = [0] * len(self._lanes)
        self._turn = 0
        self._changed = threading.Condition()

    def dropped(self, lane: int) -> int:
        """How many items of a lane were replaced by a newer one."""
        return self._dropped[lane]

    def put(self, lane: int, item: _Item) -> None:
        """Add an item to a lane; waits while the lane is full, unless it keeps the newest.

        Raises:
            Closed: The consumer is gone.
        """
        items, capacity = self._lanes[lane], self._capacities[lane]
        with self._changed:
            if self._keep_newest[lane] and len(items) >= capacity:
                self._on_drop(items.popleft())
                self._dropped[lane] += 1
            self._changed.wait_for(lambda: len(items) < capacity or not self._open[lane])
            if not self._open[lane]:
                raise Closed
            items.append(item)
            self._changed.notify_all()

    def take(self, most: int = 1, timeout: float | None = None) -> list[_Item]:
        """Take what is waiting, one item of each lane in turn.

        Args:
            most: Most items to take.
            timeout: Longest wait in seconds for the first one; None waits for it or the end.

        Returns:
            The items; empty when the time is over.

        Raises:
            Closed: Every producer is gone and everything has been taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: any(self._lanes) or not any(self._open), timeout)
            taken = self._in_turns(most)
            if taken:
                self._changed.notify_all()
            elif not any(self._open):
                raise Closed
            return taken

    def close(self, lane: int) -> None:
        """Close a lane from the producer's side: what is inside can still be taken."""
        with self._changed:
            self._open[lane] = False
            self._changed.notify_all()

    def abort(self) -> None:
        """Close from the consumer's side: discard what is inside; every producer gets `Closed`."""
        with self._changed:
            for items in self._lanes:
                items.clear()
            self._open = [False] * len(self._lanes)
            self._changed.notify_all()

    def _in_turns(self, most: int) -> list[_Item]:
        taken: list[_Item] = []
        empty = 0
        while len(taken) < most and empty < len(self._lanes):
            items = self._lanes[self._turn]
            self._turn = (self._turn + 1) % len(self._lanes)
            empty = 0 if items else empty + 1
            if items:
                taken.append(items.popleft())
        return taken


class JudgedFor(Protocol):
    """What a frame is captured for."""

    @property
    def photos(self) -> PhotoSpec:
        """Depth and shape of the photos that were trained on."""

    @property
    def recipe(self) -> Recipe | None:
        """The recipe; None in a stream without recipes."""


class ActiveSetup(Protocol):
    """What frames are captured for now."""

    def captured(self) -> tuple[int, JudgedFor]:
        """Count a frame that was captured now: the number of what is active, and what that asks of the frame."""

    def finished(self, number: int) -> None:
        """Count a frame no longer that was captured for this number."""


@dataclass(frozen=True)
class FixedSetup:
    """What frames are captured for where it never changes.

    Attributes:
        photos: Depth and shape of the photos that they are held against.
    """

    photos: PhotoSpec = field(default_factory=PhotoSpec)
    recipe: None = None

    def captured(self) -> tuple[int, FixedSetup]:
        """Itself."""
        return 0, self

    def finished(self, number: int) -> None:
        """Does nothing: no frame is counted."""


class Capture:
    """Frames of one open source.

    Args:
        source: The source.
        index: Which of several, from 0.
        counter: Counts what becomes of its frames.
        filters: Region, frame health and trigger.
        control: Says whether the stream is paused.
        is_stopping: Ends it.
        active: What frames are captured for.
        counts: Reason → whether a frame that is not judged for it, before a trigger was asked, goes on with it.

    Attributes:
        is_reading: Whether it waits for the source.
    """

    def __init__(
        self,
        source: Source,
        index: int,
        counter: FrameCounters,
        filters: FilterOptions,
        control: StreamControl,
        is_stopping: threading.Event,
        active: ActiveSetup,
        counts: Callable[[str], bool] = lambda reason: False,
    ) -> None:
        self._source, self._index, self._counter = source, index, counter
        self._filter = FrameFilter(filters, source)
        self._shape = FrameShape(source.name, control.emit)
        self._control, self._is_stopping, self._active = control, is_stopping, active
        self._region = filters.region
        self._counts = counts if filters.trigger is None else lambda reason: False  # it waits for a frame that can be
        self._has_trigger = filters.trigger is not None
        self.is_reading = False

    @property
    def newest_size_hw(self) -> tuple[int, int] | None:
        """Height and width of the newest frame, in pixels; None before the first."""
        return self._shape.newest_size_hw

    def frames(self) -> Iterator[Frame | Unjudged]:
        """Every frame until the source's end."""
        while not self._is_stopping.is_set():
            started = time.perf_counter()
            self.is_reading = True
            image = self._source.read()
            self.is_reading = False
            if image is None:
                return
            captured_at = time.perf_counter()
            setup, judging = self._active.captured()
            region = self._region if judging.recipe is None else judging.recipe.region
            is_switched = judging.recipe is not None and setup > 1
            problem = self._shape.size_problem(image.shape[:2], region, is_switched=is_switched)
            judged = image if problem or region is None else region.crop(image)
            problem = problem or self._shape.shape_problem(judged.shape[:2], judging.photos)
            frame = Frame(
                index=self._counter.captured,
                image=judged,
                captured_at=captured_at,
                captured_unix=time.time(),
                capture_ms=(captured_at - started) * 1e3,
                source=self._source.name,
                source_index=self._index,
                path=self._source.path,
                setup=setup,
                is_due=self._source.is_triggered and not self._has_trigger,
            )
            self._counter.captured += 1
            reason = "paused" if self._control.is_paused else problem or self._filter.reason(frame)
            if reason is None:
                frame = self._filter.named(frame)
                reason = None if self._control.golden.lets_pass(frame.part) else GOLDEN_CHECK
            if reason is None:
                yield frame
            elif self._gets_verdict(frame, reason):
                yield replace(self._filter.named(frame), problem=reason)
            else:
                self._counter.unjudged[reason] += 1
                self._active.finished(setup)
                yield Unjudged(replace(frame, setup=0), reason)

    def _gets_verdict(self, frame: Frame, reason: str) -> bool:
        """Whether a frame that cannot be judged is NG: its part is on the line, and no better frame of it will come."""
        if reason == "paused" or self._counts(reason):
            return reason != "paused"
        if reason == GOLDEN_CHECK:
            return frame.is_due or self._has_trigger
        return frame.is_due or (reason in _LASTING and self._filter.is_asked_for(frame))
