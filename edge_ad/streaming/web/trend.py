"""The course of the scores, in memory that does not grow."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from edge_ad.streaming.records.record import finite

__all__ = ["Bucket", "Trend"]


@dataclass
class Bucket:
    """The results of one slice of time.

    Attributes:
        number: Of the slice: its start divided by the length of a slice.
        low: Lowest finite score; infinity when there is none.
        high: Highest finite score; minus infinity when there is none.
        frames: Results in it.
        defective: How many of them were above the threshold.
        threshold: The one that judged the newest of them.
    """

    number: int
    threshold: float
    low: float = math.inf
    high: float = -math.inf
    frames: int = 0
    defective: int = 0


class Trend:
    """The newest slices of time that had results; not thread-safe.

    Args:
        slice_s: Length of a slice, in seconds.
        kept: How many are kept.
    """

    def __init__(self, slice_s: float, kept: int) -> None:
        self.slice_s = slice_s
        self._kept = kept
        self._buckets: deque[Bucket] = deque(maxlen=kept)

    def add(self, at: float, score: float, threshold: float, *, is_defective: bool) -> None:
        """Count a result.

        Args:
            at: Monotonic time, in seconds.
            score: Raw score; one that is not finite counts, but has no place in the curve.
            threshold: The one that judged it.
            is_defective: Whether it was above the threshold.
        """
        number = math.floor(at / self.slice_s)
        # Frames of one source come in order; one that is late by a slice is counted in the newest.
        if not self._buckets or self._buckets[-1].number < number:
            self._buckets.append(Bucket(number, threshold))
        bucket = self._buckets[-1]
        bucket.frames += 1
        bucket.defective += is_defective
        bucket.threshold = threshold
        if math.isfinite(score):
            bucket.low, bucket.high = min(bucket.low, score), max(bucket.high, score)

    def rows(self, now: float, newest_s: float | None = None) -> list[list[float | None]]:
        """The slices as rows for JSON, oldest first.

        Args:
            now: Monotonic time, in seconds.
            newest_s: Only those of the newest seconds; None for all that are kept.

        Returns:
            Rows of start in monotonic seconds, lowest, highest, frames, defective, threshold; None for what is not
            finite.
        """
        length_s = self.slice_s * self._kept if newest_s is None else newest_s
        first = math.floor((now - length_s) / self.slice_s)
        rows: list[list[float | None]] = []
        for bucket in reversed(self._buckets):
            if bucket.number < first:
                break
            low, high = (round(bucket.low, 6), round(bucket.high, 6)) if bucket.low <= bucket.high else (None, None)
            start = round(bucket.number * self.slice_s, 3)
            rows.append([start, low, high, bucket.frames, bucket.defective, finite(bucket.threshold)])
        return rows[::-1]
