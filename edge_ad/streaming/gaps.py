"""The times at which a live source was gone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone

__all__ = ["Gap", "GapLog"]

_KEPT = 100  # a stream runs for months: the newest gaps are listed, all are counted


@dataclass(frozen=True)
class Gap:
    """One outage.

    Attributes:
        start: When the last frame before it came, ISO 8601 UTC.
        seconds: From that frame to the first one after it, or to the end of the stream.
    """

    start: str
    seconds: float


class GapLog:
    """Counts all outages and lists the newest hundred.

    Attributes:
        count: Outages so far.
        total_seconds: Their length together.
        longest_seconds: The longest.
        reconnects: How many ended with the source's return.
        is_lost: Whether the source is gone now.
        newest: The newest of them, oldest first.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_seconds = 0.0
        self.longest_seconds = 0.0
        self.reconnects = 0
        self.is_lost = False
        self.newest: deque[Gap] = deque(maxlen=_KEPT)

    def begin(self) -> None:
        """Note that the source is gone; `add` records the outage when it is over."""
        self.is_lost = True

    def add(self, start_unix: float, seconds: float, *, reconnected: bool) -> None:
        """Record an outage.

        Args:
            start_unix: Wall-clock time of the last frame before it, in seconds since the epoch.
            seconds: Its length.
            reconnected: Whether the source came back.
        """
        start = datetime.fromtimestamp(start_unix, timezone.utc).isoformat(timespec="milliseconds")
        self.newest.append(Gap(start, round(seconds, 3)))
        self.count += 1
        self.total_seconds += seconds
        self.longest_seconds = max(self.longest_seconds, seconds)
        self.reconnects += reconnected
        self.is_lost = False
