"""What a process takes as a stream goes on: memory, file descriptors, threads; and whether it stays at that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil

from edge_ad.streaming.progress import Progress

__all__ = ["Measures"]

_MOST_MIB_PER_10000 = 1.0
_SWING_MIB = 8.0  # by which two periods differ without a leak: the heap of bundles that were opened and closed
_MOST_MORE_DESCRIPTORS = 1
_MOST_MORE_THREADS = 2
_SAMPLES = 1000
_WARM_UP_SHARE = 0.2
_PERIODS = 8


class Measures:
    """Samples the process; called with the progress of its stream.

    A bundle that is being opened takes memory, descriptors and threads for a moment, and so each period after the
    warm-up counts with its lowest sample: what is never given back raises it.

    Args:
        frames: How many frames there will be.
    """

    def __init__(self, frames: int) -> None:
        self._every, self._next = max(1, frames // _SAMPLES), 0
        self._process = psutil.Process()
        self._frames: list[int] = []
        self._rss_mib: list[float] = []
        self._descriptors: list[int] = []
        self._threads: list[int] = []

    def __call__(self, progress: Progress) -> None:
        """Take a sample when it is due."""
        if progress.frames < self._next:
            return
        self._next = progress.frames + self._every
        with self._process.oneshot():
            self.add(
                progress.frames,
                rss_mib=self._process.memory_info().rss / 2**20,
                descriptors=self._process.num_fds(),
                threads=self._process.num_threads(),
            )

    def add(self, frames: int, *, rss_mib: float, descriptors: int, threads: int) -> None:
        """Add a sample."""
        self._frames.append(frames)
        self._rss_mib.append(rss_mib)
        self._descriptors.append(descriptors)
        self._threads.append(threads)

    def checks(self) -> dict[str, bool]:
        """Name of a check → whether it holds."""
        most_mib = _SWING_MIB + _MOST_MIB_PER_10000 * self._measured_frames() / 10_000
        return {
            "memory_flat": _growth(self._rss_mib) <= most_mib,
            "descriptors_flat": _growth(self._descriptors) <= _MOST_MORE_DESCRIPTORS,
            "threads_flat": _growth(self._threads) <= _MOST_MORE_THREADS,
        }

    def to_dict(self) -> dict[str, Any]:
        """The figures, for the report: the lowest of each period, and what the memory grows by."""
        mib_per_10000 = _growth(self._rss_mib) / self._measured_frames() * 10_000
        return {
            "mib_per_10000_frames": round(mib_per_10000, 4),
            "lowest_rss_mib": [round(value, 1) for value in _lowest(self._rss_mib)],
            "lowest_descriptors": [int(value) for value in _lowest(self._descriptors)],
            "lowest_threads": [int(value) for value in _lowest(self._threads)],
        }

    def _measured_frames(self) -> float:
        """Frames between the first and the last period."""
        lowest = _lowest(self._frames)
        return max(1.0, lowest[-1] - lowest[0])


def _lowest(values: Sequence[float]) -> list[float]:
    """The lowest value of each period after the warm-up."""
    warm = np.array(values[int(len(values) * _WARM_UP_SHARE) :], np.float64)
    return [float(period.min()) for period in np.array_split(warm, _PERIODS) if len(period)]


def _growth(values: Sequence[float]) -> float:
    """By how much the last period exceeds the first."""
    lowest = _lowest(values)
    return lowest[-1] - lowest[0]
