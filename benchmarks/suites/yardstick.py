"""A fixed piece of work: how fast the machine is at this moment, whatever the engines do.

Two sessions on one machine differ by its clock, its heat and who else uses it. What slows the yardstick down as well is
not a change of an engine.
"""

from __future__ import annotations

import time

import numpy as np

__all__ = ["Yardstick"]

_SIDE = 320
_STREAM_FLOATS = 1 << 19
_RUNS = 5


class Yardstick:
    """Matrix products (arithmetic) and a pass over 2 MiB (memory) in NumPy; some milliseconds."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._left = rng.normal(size=(_SIDE, _SIDE)).astype(np.float32)
        self._right = rng.normal(size=(_SIDE, _SIDE)).astype(np.float32)
        self._stream = rng.normal(size=_STREAM_FLOATS).astype(np.float32)
        self._out = np.empty_like(self._left)
        self.median_ms()  # wakes the threads of the matrix product

    @property
    def name(self) -> str:
        """What it is made of: times of two that differ in it are not comparable."""
        return f"matmul {_SIDE} + stream {_STREAM_FLOATS}, numpy {np.__version__}"

    def median_ms(self) -> float:
        """Median of five runs, in milliseconds."""
        return float(np.median([self._run() for _ in range(_RUNS)]))

    def _run(self) -> float:
        start = time.perf_counter_ns()
        for _ in range(4):
            np.matmul(self._left, self._right, out=self._out)
        self._stream *= np.float32(1.0)
        return (time.perf_counter_ns() - start) / 1e6
