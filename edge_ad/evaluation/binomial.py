"""The binomial tail and the confidence bound of a rate that follows from it (Clopper and Pearson, 1934).

``P(Bin(n, p) ≤ k)`` is the regularised incomplete beta function ``I(1 − p; n − k, k + 1)``, so the bound below is a
quantile of a Beta distribution, computed without SciPy.
"""

from __future__ import annotations

import math

import numpy as np

from edge_ad.errors import UsageError

__all__ = ["binomial_cdf", "rate_upper_bound"]


def binomial_cdf(successes: int, trials: int, probability: float) -> float:
    """Probability of at most this many successes.

    Args:
        successes: At most this many, in [0, trials].
        trials: Number of independent trials, >= 1.
        probability: Probability of success of one trial, in [0, 1].

    Returns:
        ``P(Bin(trials, probability) <= successes)``, in [0, 1].
    """
    if probability <= 0.0 or successes >= trials:
        return 1.0
    if probability >= 1.0:
        return 0.0
    count = np.arange(successes + 1)
    # log C(n, i) from the ratio of neighbours: no factorial overflows.
    steps = np.log(trials - count[:-1]) - np.log(count[1:])
    log_choose = np.concatenate([[0.0], np.cumsum(steps)])
    terms = log_choose + count * math.log(probability) + (trials - count) * math.log1p(-probability)
    return min(1.0, math.fsum(np.exp(terms)))


def rate_upper_bound(successes: int, trials: int, confidence: float) -> float:
    """Upper confidence bound of a rate of which a sample is known.

    Args:
        successes: Observed successes, in [0, trials].
        trials: Number of independent trials, >= 1.
        confidence: Probability that the bound is not below the true rate, in (0, 1).

    Returns:
        The quantile ``confidence`` of ``Beta(successes + 1, trials - successes)``, in (0, 1]; rounded up, never down.

    Raises:
        UsageError: Numbers outside their ranges.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise UsageError(f"{successes} of {trials} is not a rate.")
    if not 0.0 < confidence < 1.0:
        raise UsageError(f"A confidence is between 0 and 1, not {confidence}.")
    if successes == trials:
        return 1.0
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2.0) < high:
        if binomial_cdf(successes, trials, middle) > 1.0 - confidence:
            low = middle
        else:
            high = middle
    return high
