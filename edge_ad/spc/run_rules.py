"""Run rules: patterns in a control chart that chance makes rarely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["NELSON", "RULE_SETS", "WESTERN_ELECTRIC", "RuleSet", "RunRule", "Signal", "find_signals"]

RuleSet: TypeAlias = Literal["western-electric", "nelson"]
_Test: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.bool_]]


@dataclass(frozen=True)
class RunRule:
    """A pattern of points in a row.

    Attributes:
        number: Of the rule in its set.
        text: What the points do.
        points: How many in a row are looked at.
        test: (N, points) distances from the centre in standard deviations, oldest first → (N,) whether they do it.
    """

    number: int
    text: str
    points: int
    test: _Test


@dataclass(frozen=True)
class Signal:
    """A pattern that was found.

    Attributes:
        index: Of the point that completes it.
        rule: Which one.
    """

    index: int
    rule: RunRule


def find_signals(z: NDArray[np.float64], rules: tuple[RunRule, ...]) -> tuple[Signal, ...]:
    """Find every point that completes a pattern.

    Args:
        z: (N,) points in their order: distance from the centre line in standard deviations; NaN is part of no pattern.
        rules: What to look for.

    Returns:
        In the order of the points.
    """
    found = [Signal(index, rule) for rule in rules for index in _completed(z, rule)]
    return tuple(sorted(found, key=lambda signal: (signal.index, signal.rule.number)))


def _completed(z: NDArray[np.float64], rule: RunRule) -> list[int]:
    if not len(z):
        return []
    before = np.full(rule.points - 1, np.nan)  # two of the first two points are two of three
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate((before, z)), rule.points)
    return [int(place) for place in np.flatnonzero(rule.test(windows))]


def _same_side(z: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.all(z > 0, axis=1) | np.all(z < 0, axis=1), np.bool_)


def _steady(z: NDArray[np.float64]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):  # of two infinite distances
        steps = np.diff(z, axis=1)
    return np.asarray(np.all(steps > 0, axis=1) | np.all(steps < 0, axis=1), np.bool_)


def _alternating(z: NDArray[np.float64]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        steps = np.diff(z, axis=1)
    return np.asarray(np.all(steps[:, 1:] * steps[:, :-1] < 0, axis=1), np.bool_)


def _beyond(distance: float, count: int) -> _Test:
    """``count`` of the points are further out than ``distance``, on one side, the newest one among them."""

    def test(z: NDArray[np.float64]) -> NDArray[np.bool_]:
        above, below = z > distance, z < -distance
        is_high, is_low = above.sum(axis=1) >= count, below.sum(axis=1) >= count
        return np.asarray((is_high & above[:, -1]) | (is_low & below[:, -1]), np.bool_)

    return test


def _near(z: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.all(np.abs(z) < 1, axis=1), np.bool_)


def _far(z: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.all(np.abs(z) > 1, axis=1), np.bool_)


WESTERN_ELECTRIC = (
    RunRule(1, "beyond 3 σ", 1, _beyond(3, 1)),
    RunRule(2, "2 of 3 beyond 2 σ, on one side", 3, _beyond(2, 2)),
    RunRule(3, "4 of 5 beyond 1 σ, on one side", 5, _beyond(1, 4)),
    RunRule(4, "8 in a row on one side", 8, _same_side),
)
"""The zone rules of the Western Electric Statistical Quality Control Handbook (1956)."""

NELSON = (
    RunRule(1, "beyond 3 σ", 1, _beyond(3, 1)),
    RunRule(2, "9 in a row on one side", 9, _same_side),
    RunRule(3, "6 in a row rise, or fall", 6, _steady),
    RunRule(4, "14 in a row go up and down in turn", 14, _alternating),
    RunRule(5, "2 of 3 beyond 2 σ, on one side", 3, _beyond(2, 2)),
    RunRule(6, "4 of 5 beyond 1 σ, on one side", 5, _beyond(1, 4)),
    RunRule(7, "15 in a row within 1 σ", 15, _near),
    RunRule(8, "8 in a row beyond 1 σ, on either side", 8, _far),
)
"""L. S. Nelson, The Shewhart Control Chart: Tests for Special Causes, Journal of Quality Technology 16(4), 1984."""

RULE_SETS: dict[RuleSet, tuple[RunRule, ...]] = {"western-electric": WESTERN_ELECTRIC, "nelson": NELSON}
