"""How much slower or faster, and how sure: a bootstrap interval of a ratio of medians."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RatioInterval", "paired_ratio", "unpaired_ratio"]

_RESAMPLES = 2000
_SEED = 20_240_601


@dataclass(frozen=True)
class RatioInterval:
    """A ratio and its interval.

    Attributes:
        ratio: New over old; above 1 is slower.
        low: Lower end of the interval.
        high: Upper end.
        confidence: Of the interval, such as 0.95.
    """

    ratio: float
    low: float
    high: float
    confidence: float


def paired_ratio(new: Sequence[float], old: Sequence[float], *, confidence: float = 0.95) -> RatioInterval:
    """Ratio from rounds in which both sides had their turn: what slows a whole round down cancels.

    Args:
        new: Median of each round of the new side, above 0.
        old: The same rounds of the old side, as many.
        confidence: Of the interval, in (0, 1).

    Raises:
        ValueError: Not as many rounds, or none.
    """
    if len(new) != len(old) or not new:
        raise ValueError("paired rounds need two sides of the same length, and at least one")
    logs = np.log(np.asarray(new) / np.asarray(old))
    medians = _medians(logs, np.random.default_rng(_SEED))
    return _interval(float(np.median(logs)), medians, confidence)


def unpaired_ratio(new: Sequence[float], old: Sequence[float], *, confidence: float = 0.95) -> RatioInterval:
    """Ratio of the medians of two sides that were measured at different times.

    Args:
        new: One value per round, above 0; divided by a yardstick's time if the machine's speed is to cancel.
        old: The same of the old side.
        confidence: Of the interval, in (0, 1).

    Raises:
        ValueError: A side without rounds.
    """
    if not new or not old:
        raise ValueError("a ratio needs rounds of both sides")
    first, second = np.log(np.asarray(new, np.float64)), np.log(np.asarray(old, np.float64))
    rng = np.random.default_rng(_SEED)
    medians = _medians(first, rng) - _medians(second, rng)
    return _interval(float(np.median(first) - np.median(second)), medians, confidence)


def _medians(logs: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Medians (resamples,) of the resampled rounds."""
    drawn = np.sort(logs[_blocks(len(logs), rng)], axis=1)  # several times as fast as np.median
    middle: NDArray[np.float64] = (drawn[:, (len(logs) - 1) // 2] + drawn[:, len(logs) // 2]) / 2
    return middle


def _blocks(count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices (resamples, count) of a circular block bootstrap.

    Neighbouring rounds are alike, as a machine's speed drifts: drawn singly they would look surer than they are.
    """
    length = math.ceil(count ** (1 / 3))
    starts = rng.integers(0, count, (_RESAMPLES, -(-count // length), 1))
    indices: NDArray[np.intp] = (starts + np.arange(length)).reshape(_RESAMPLES, -1)[:, :count] % count
    return indices


def _interval(log_ratio: float, resampled: NDArray[np.float64], confidence: float) -> RatioInterval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return RatioInterval(math.exp(log_ratio), math.exp(float(low)), math.exp(float(high)), confidence)
