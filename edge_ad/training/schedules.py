"""Learning-rate schedules as pure functions of progress."""

from __future__ import annotations

import math

from edge_ad.errors import UsageError

__all__ = ["SCHEDULES", "learning_rate_scale"]

_WARM_UP_SHARE = 0.1
_START_SCALE = 0.04
_SGDR_CYCLES = (1, 2, 4)  # each restart doubles the cycle (Loshchilov & Hutter 2017, T_mult = 2)

_STEPS = (0.8, 0.9)
_STEP_FACTOR = 0.2
_SMALL_STEP_FACTOR = 0.4

_WARM_UP_STEPS = (0.7, 0.9)
_LONG_WARM_UP_SHARE = 0.12
_LONG_START_SCALE = 0.1
_WARM_UP_STEP_FACTOR = 0.33

SCHEDULES = ("one-cycle", "fixed", "warm-up", "sgdr", "step", "small-step", "warm-up-step")


def learning_rate_scale(schedule: str, progress: float) -> float:
    """Share of the peak learning rate at a point of a stage.

    Args:
        schedule: ``fixed``; ``warm-up`` (linear over the first tenth, then fixed; Goyal et al. 2017); ``sgdr`` (cosine
            with warm restarts, cycles of 1, 2 and 4 sevenths); ``one-cycle`` (warm-up, then one cosine to zero);
            ``step`` (a fifth after 80 %, a fifth of that after 90 %; DRAEM); ``small-step`` (likewise, times 0.4;
            SuperSimpleNet); ``warm-up-step`` (linear from a tenth over 12 %, then fixed, times 0.33 after 70 % and
            again after 90 %; MSFlow).
        progress: Steps done over all steps, in [0, 1).

    Returns:
        In [0, 1].

    Raises:
        UsageError: There is no such schedule.
    """
    if schedule == "fixed":
        return 1.0
    if schedule == "warm-up":
        return _warm_up(progress)
    if schedule == "sgdr":
        return _restarting_cosine(progress)
    if schedule == "step":
        return float(_STEP_FACTOR ** sum(progress >= step for step in _STEPS))
    if schedule == "small-step":
        return float(_SMALL_STEP_FACTOR ** sum(progress >= step for step in _STEPS))
    if schedule == "warm-up-step":
        return _long_warm_up(progress) * float(_WARM_UP_STEP_FACTOR ** sum(progress >= step for step in _WARM_UP_STEPS))
    if schedule == "one-cycle":
        if progress < _WARM_UP_SHARE:
            return _warm_up(progress)
        return _cosine((progress - _WARM_UP_SHARE) / (1 - _WARM_UP_SHARE))
    raise UsageError(f"There is no schedule {schedule!r}.", f"Choose one of: {', '.join(SCHEDULES)}.")


def _warm_up(progress: float) -> float:
    return min(1.0, _START_SCALE + (1 - _START_SCALE) * progress / _WARM_UP_SHARE)


def _long_warm_up(progress: float) -> float:
    return min(1.0, _LONG_START_SCALE + (1 - _LONG_START_SCALE) * progress / _LONG_WARM_UP_SHARE)


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _restarting_cosine(progress: float) -> float:
    total = sum(_SGDR_CYCLES)
    start = 0.0
    for cycle in _SGDR_CYCLES:
        length = cycle / total
        if progress < start + length:
            return _cosine((progress - start) / length)
        start += length
    return 0.0
