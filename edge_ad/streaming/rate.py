"""Frames per second."""

from __future__ import annotations

from collections import deque

__all__ = ["FrameRate"]

_RECENT = 30


class FrameRate:
    """Frames per second from the intervals between frames: n frames have n - 1 intervals."""

    def __init__(self) -> None:
        self._count = 0
        self._first_at = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT + 1)

    def add(self, at: float) -> None:
        """Count a frame delivered at a monotonic time, in seconds."""
        if self._count == 0:
            self._first_at = at
        self._count += 1
        self._recent.append(at)

    @property
    def fps(self) -> float:
        """Over the whole stream; 0 before the second frame."""
        return _rate(self._count, self._first_at, self._recent[-1]) if self._recent else 0.0

    @property
    def recent_fps(self) -> float:
        """Over the newest thirty intervals; 0 before the second frame."""
        return _rate(len(self._recent), self._recent[0], self._recent[-1]) if self._recent else 0.0


def _rate(frames: int, first_at: float, last_at: float) -> float:
    return (frames - 1) / (last_at - first_at) if last_at > first_at else 0.0
