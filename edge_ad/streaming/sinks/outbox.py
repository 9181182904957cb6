"""Messages that wait for a receiver that may be slow or gone, in a bounded queue with a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Outbox"]

_CUT_S = 0.5

_Message = TypeVar("_Message")


class Outbox(Generic[_Message]):
    """Hands messages to ``send`` one after the other, in order; when it is full the oldest one goes.

    Args:
        name: Of the thread.
        send: Delivers a message, however long it takes. It is given a function that waits so many seconds and says
            whether to go on: when it says no, the stream is over and trying again is, too.
        on_error: Told when ``send`` raises: that message is dropped, the next one is sent.
        capacity: Most messages that wait.

    Attributes:
        dropped: Messages that were never sent, for want of room, of time at the end, or because ``send`` failed.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[_Message, Callable[[float], bool]], None],
        on_error: Callable[[Exception], None],
        *,
        capacity: int,
    ) -> None:
        self.dropped = 0
        self._send, self._on_error, self._capacity = send, on_error, capacity
        self._waiting: deque[_Message] = deque()
        self._changed = threading.Condition()
        self._close_by: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, message: _Message) -> None:
        """Add a message; never waits."""
        with self._changed:
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(message)
            self._changed.notify_all()

    def close(self, timeout_s: float, cut_short: Callable[[], None] = lambda: None) -> None:
        """Send what waits, for at most so many seconds; the rest is dropped.

        Args:
            timeout_s: Longest time.
            cut_short: Called when the time is over and ``send`` has not returned: has it return.
        """
        with self._changed:
            self._close_by = time.monotonic() + timeout_s
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            cut_short()
            self._thread.join(_CUT_S)

    def _run(self) -> None:
        while (message := self._next()) is not None:
            try:
                self._send(message, self._wait)
            except Exception as error:  # whatever one message does, those after it are sent
                with self._changed:
                    self.dropped += 1
                self._on_error(error)

    def _next(self) -> _Message | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._close_by is not None)
            if self._is_over():
                self.dropped += len(self._waiting)
                self._waiting.clear()
            return self._waiting.popleft() if self._waiting else None

    def _wait(self, seconds: float) -> bool:
        """Wait, but not past the end."""
        until = time.monotonic() + seconds
        with self._changed:
            while (left := until - time.monotonic()) > 0:
                if self._close_by is not None:
                    left = min(left, self._close_by - time.monotonic())
                    if left <= 0:
                        return False
                self._changed.wait(left)
            return not self._is_over()

    def _is_over(self) -> bool:
        return self._close_by is not None and time.monotonic() >= self._close_by
