"""Frames that follow each other closely show the same part, and count as one observation of the line."""

from __future__ import annotations

import math

__all__ = ["FrameGroups"]

_GROUP_S = 0.5
_MOST_FRAMES = 16  # a file is read faster than it was recorded


class FrameGroups:
    """Says where a group of frames ends: half a second after its first frame, or after sixteen.

    Frames of a trigger that fires for every part are groups by themselves; of a camera of 30 FPS, fifteen are one.
    """

    def __init__(self) -> None:
        self._started_at, self._frames = math.nan, 0

    def begins(self, at: float) -> bool:
        """Take a frame; whether it begins another group than that of the frame before, the first frame not counted.

        Args:
            at: Monotonic time at which it was captured, in seconds.
        """
        is_first = self._frames == 0
        is_over = self._frames >= _MOST_FRAMES or at - self._started_at >= _GROUP_S
        if is_first or is_over:
            self._started_at, self._frames = at, 0
        self._frames += 1
        return is_over and not is_first
