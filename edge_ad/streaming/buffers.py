"""The bounded buffer between two threads of the pipeline."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Closed", "FrameBuffer"]

_Item = TypeVar("_Item")


class Closed(Exception):  # noqa: N818 - an end, not an error
    """Nothing more will come out of a buffer, or can go in."""


class FrameBuffer(Generic[_Item]):
    """A bounded first-in-first-out buffer that either side can close, so that nobody waits for a thread that is gone.

    Args:
        capacity: Most items it holds.
        keep_newest: When full, throw away the oldest item instead of making the producer wait.

    Attributes:
        dropped: How many items were thrown away to make room.
    """

    def __init__(self, capacity: int, *, keep_newest: bool = False) -> None:
        self.dropped = 0
        self._items: deque[_Item] = deque()
        self._capacity = capacity
        self._keep_newest = keep_newest
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, item: _Item) -> None:
        """Add an item; waits while the buffer is full, unless it keeps the newest.

        Raises:
            Closed: The consumer is gone.
        """
        with self._changed:
            while len(self._items) >= self._capacity and not self._is_closed:
                if self._keep_newest:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._changed.wait()
            if self._is_closed:
                raise Closed
            self._items.append(item)
            self._changed.notify_all()

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
            if not self._items and not self._is_closed:
                self._changed.wait_for(lambda: self._items or self._is_closed, timeout)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._is_closed:
                raise Closed
            return None

    def close(self) -> None:
        """Producer's end: what is inside can still be taken, nothing more can be put."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Consumer's end: throw away what is inside and turn the producer away."""
        with self._changed:
            self._items.clear()
            self._is_closed = True
            self._changed.notify_all()
