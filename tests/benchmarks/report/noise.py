"""A machine that others use too: what it multiplies a latency by, round after round."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Speed = Callable[[int, np.random.Generator], NDArray[np.float64]]


def _steady(rounds: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.ones(rounds)


def _slow_drift(rounds: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Heat: up to a fifth, from one end to the other."""
    return np.linspace(1.0, 1.2, rounds)


def _swing(rounds: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Somebody's periodic job: ±15 %, at a phase that differs from session to session."""
    return 1 + 0.15 * np.sin(np.linspace(0, 4 * np.pi, rounds) + rng.uniform(0, 2 * np.pi))


def _two_clocks(rounds: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A clock that jumps between two frequencies."""
    return np.where(rng.random(rounds) < 0.3, 1.25, 1.0)


def _step(rounds: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Another job begins at some time and stays."""
    return np.where(np.arange(rounds) < rng.integers(1, rounds), 1.0, 1.4)


MACHINES: dict[str, Speed] = {
    "steady": _steady,
    "slow drift": _slow_drift,
    "swing": _swing,
    "two clocks": _two_clocks,
    "step": _step,
}


def block_medians(base_ms: float, speed: NDArray[np.float64], rng: np.random.Generator) -> list[float]:
    """What a block of 40 runs has for its median: runs vary by 6 %, one in thirty is an outlier of up to five times."""
    runs = base_ms * rng.lognormal(0, 0.06, (len(speed), 40))
    outliers = rng.random(runs.shape) < 1 / 30
    runs = np.where(outliers, runs * rng.uniform(1.5, 5, runs.shape), runs)
    return [float(value) for value in np.median(runs, axis=1) * speed]
