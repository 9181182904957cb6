"""Percentiles of a stream of durations in a fixed amount of memory."""

from __future__ import annotations

import math

__all__ = ["DurationHistogram"]

_SMALLEST_MS = 1e-3
_LARGEST_MS = 1e7
_BIN_WIDTH = math.log(1.01)  # a percentile is off by half a bin, 0.5 %, at most
_BINS = math.ceil(math.log(_LARGEST_MS / _SMALLEST_MS) / _BIN_WIDTH) + 1


class DurationHistogram:
    """Counts durations in bins of equal ratio, from 1 µs to 3 hours.

    What lies outside is counted at the end of the scale.

    Attributes:
        count: How many durations were added.
        total_ms: Their sum.
        max_ms: The longest, exact; 0 when there is none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_ms = 0.0
        self.max_ms = 0.0
        self._bins = [0] * _BINS

    def add(self, duration_ms: float) -> None:
        """Count one duration, in milliseconds."""
        self.count += 1
        self.total_ms += duration_ms
        self.max_ms = max(self.max_ms, duration_ms)
        clipped = min(max(duration_ms, _SMALLEST_MS), _LARGEST_MS)
        self._bins[int(math.log(clipped / _SMALLEST_MS) / _BIN_WIDTH)] += 1

    def percentile_ms(self, percent: float) -> float:
        """The nearest-rank percentile, right to 0.5 %.

        Args:
            percent: In [0, 100].

        Returns:
            Milliseconds; 0 when nothing was added.
        """
        rank, seen = max(1, math.ceil(self.count * percent / 100)), 0
        for number, count in enumerate(self._bins):
            seen += count
            if seen >= rank:
                return min(_SMALLEST_MS * math.exp((number + 0.5) * _BIN_WIDTH), self.max_ms)
        return 0.0

    def summary(self) -> dict[str, float]:
        """Mean, median, 95th and 99th percentile and the longest, in milliseconds."""
        mean_ms = self.total_ms / self.count if self.count else 0.0
        values = {"mean_ms": mean_ms, "max_ms": self.max_ms}
        values |= {f"p{percent}_ms": self.percentile_ms(percent) for percent in (50, 95, 99)}
        return {name: round(value, 4) for name, value in values.items()}
