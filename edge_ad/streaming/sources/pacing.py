"""The clock of a source that is played at a frame rate of its own."""

from __future__ import annotations

import threading
import time

__all__ = ["Pacer"]


class Pacer:
    """Waits until the next frame is due.

    Args:
        interval_s: Time from frame to frame, in seconds.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due_at: float | None = None

    def wait(self, cancelled: threading.Event) -> None:
        """Return when the next frame is due, or at once when cancelled.

        By the clock and not by pauses, so that the rate is exact; a reader that fell behind by more than a frame is
        not hurried to make up for it.
        """
        now = time.perf_counter()
        due_at = now if self._due_at is None else max(self._due_at + self._interval_s, now - self._interval_s)
        self._due_at = due_at
        if due_at > now:
            cancelled.wait(due_at - now)
