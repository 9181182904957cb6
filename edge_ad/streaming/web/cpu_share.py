"""A thread that keeps within its share of a core."""

from __future__ import annotations

import time

__all__ = ["CpuShare"]

_LONGEST_REST_S = 0.25


class CpuShare:
    """How much of a core the thread that made it has used, against what it may.

    Python gives the stream and the page the same interpreter, and an engine that uses all cores waits for the slowest
    of them: what a thread beside it uses, the stream loses. What is above the share is slept off.

    Args:
        share: Of one core, from 0 to 1.
        burst_s: Processor time that may be used at once, when none was used for long.
    """

    def __init__(self, share: float, burst_s: float) -> None:
        self._share, self._burst_s, self._debt_s = share, burst_s, -burst_s
        self._seen_at, self._used_s = time.monotonic(), time.thread_time()

    def rest_s(self) -> float:
        """How long the thread has to rest now, in seconds; at most 0.25, then ask again."""
        at, used = time.monotonic(), time.thread_time()
        debt_s = self._debt_s + (used - self._used_s) - self._share * (at - self._seen_at)
        self._debt_s, self._seen_at, self._used_s = max(-self._burst_s, debt_s), at, used
        return min(max(0.0, self._debt_s) / self._share, _LONGEST_REST_S)
