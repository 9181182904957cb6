"""A fixed piece of work: how fast the machine is at this moment, whatever the engines do.

Two sessions on one machine differ by its clock, its heat and who else uses it. What slows the yardstick down as well is
not a change of an engine.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from edge_ad.runtime.target import available_cores

__all__ = ["Yardstick"]

_COUNT, _SIDE = 4, 64
_REPEATS = 100
_RUNS = 5
_ALIGNMENT = 64  # bytes: with less, the same work takes a tenth more in one process and not in the next


class Yardstick:
    """Small matrix products in NumPy, the same in every thread; some milliseconds.

    As many threads as there are cores, because an engine feels what happens on any of them; but each does its own
    work to its end: threads that wait for each other would measure the waiting. Products of 64×64 are too small for the
    BLAS to share among threads of its own. The matrices fit into a core's own cache: what a neighbour does to a shared
    one, and where in memory they happen to lie, is not the machine's speed.

    Args:
        threads: Number of threads; 0 for one per core.
    """

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads or available_cores()
        self._work = [(_matrices(seed), _matrices(seed + 1), _matrices(seed)) for seed in range(self._threads)]
        self._pool = ThreadPoolExecutor(self._threads)
        self.median_ms()  # starts the threads

    @property
    def name(self) -> str:
        """What it is made of: times of two that differ in it are not comparable."""
        return f"matmul {_COUNT}x{_SIDE}, {self._threads} threads, numpy {np.__version__}"

    def median_ms(self) -> float:
        """Median of five runs, in milliseconds."""
        return float(np.median([self._run() for _ in range(_RUNS)]))

    def _run(self) -> float:
        """Mean of the threads' times."""
        return float(np.mean(list(self._pool.map(_multiply, self._work))))


def _multiply(matrices: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]) -> float:
    left, right, out = matrices
    start = time.perf_counter_ns()
    for _ in range(_REPEATS):
        np.matmul(left, right, out=out)
    return (time.perf_counter_ns() - start) / 1e6


def _matrices(seed: int) -> NDArray[np.float32]:
    """Random float32 (count, side, side), aligned."""
    values = np.random.default_rng(seed).normal(size=(_COUNT, _SIDE, _SIDE)).astype(np.float32)
    space = np.empty(values.nbytes + _ALIGNMENT, np.uint8)
    first = -space.ctypes.data % _ALIGNMENT
    aligned = space[first : first + values.nbytes].view(np.float32).reshape(values.shape)
    aligned[:] = values
    return aligned
