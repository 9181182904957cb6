"""Connections that wait for a moment: each as long as the others, so the first to come is the first to go."""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Waiting"]

_Item = TypeVar("_Item")


class Waiting(Generic[_Item]):
    """A queue with an end of time and a bound. Used in one thread.

    Args:
        after_s: How long each waits, in seconds.
        most: How many may; beyond it the one that has waited longest goes at once.
        end: Called with the connection, and what belongs to it, when its time is over or there are too many.
    """

    def __init__(self, after_s: float, most: int, end: Callable[[socket.socket, _Item], None]) -> None:
        self._after_s, self._most, self._end = after_s, most, end
        self._items: OrderedDict[socket.socket, tuple[float, _Item]] = OrderedDict()

    def __contains__(self, guest: socket.socket) -> bool:
        return guest in self._items

    @property
    def next_at(self) -> float | None:
        """When the next one's time is over (`time.monotonic`)."""
        return next(iter(self._items.values()))[0] if self._items else None

    def has_room(self, least_s: float) -> bool:
        """Whether one more may come and nobody has to go that has waited less than so many seconds."""
        at = self.next_at
        return at is None or len(self._items) < self._most or at - self._after_s + least_s <= time.monotonic()

    def add(self, guest: socket.socket, item: _Item) -> None:
        """Let one wait."""
        self._items[guest] = time.monotonic() + self._after_s, item
        if len(self._items) > self._most:
            self.drop(next(iter(self._items)))

    def take(self, guest: socket.socket) -> None:
        """One need not wait any more."""
        del self._items[guest]

    def drop(self, guest: socket.socket) -> None:
        """One's time is over now."""
        self._end(guest, self._items.pop(guest)[1])

    def expire(self) -> None:
        """End those whose time is over."""
        now = time.monotonic()
        while self._items and (first := next(iter(self._items.items())))[1][0] <= now:
            self.drop(first[0])

    def clear(self) -> None:
        """End all."""
        while self._items:
            self.drop(next(iter(self._items)))
