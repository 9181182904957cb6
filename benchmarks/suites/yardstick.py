"""A fixed piece of work: how fast the machine is at this moment, whatever the engines do.

Two sessions on one machine differ by its clock, its heat and who else uses it. What slows the yardstick down as well is
not a change of an engine.
"""

from __future__ import annotations

import time

import numpy as np

__all__ = ["Yardstick"]

_COUNT, _SIDE = 128, 64
_REPEATS = 3
_RUNS = 5


class Yardstick:
    """Small matrix products over 6 MiB in NumPy, in one thread; some milliseconds.

    Products of 64×64 are too small for the BLAS to share among threads: two threads that wait for each other would
    measure who else is on the cores more than the cores.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._left = rng.normal(size=(_COUNT, _SIDE, _SIDE)).astype(np.float32)
        self._right = rng.normal(size=(_COUNT, _SIDE, _SIDE)).astype(np.float32)
        self._out = np.empty_like(self._left)
        self.median_ms()  # brings the arrays into memory

    @property
    def name(self) -> str:
        """What it is made of: times of two that differ in it are not comparable."""
        return f"matmul {_COUNT}x{_SIDE}, numpy {np.__version__}"

    def median_ms(self) -> float:
        """Median of five runs, in milliseconds."""
        return float(np.median([self._run() for _ in range(_RUNS)]))

    def _run(self) -> float:
        start = time.perf_counter_ns()
        for _ in range(_REPEATS):
            np.matmul(self._left, self._right, out=self._out)
        return (time.perf_counter_ns() - start) / 1e6
