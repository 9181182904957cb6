"""The decision threshold: set on held-out good images only, with what can be promised about false alarms.

Split conformal prediction: for n exchangeable good scores and the k-th smallest of them as threshold, the next good
part scores above it with probability at most ``(n + 1 − k) / (n + 1)``. With ``k = ⌈(n + 1)(1 − α)⌉`` that is at most
the asked rate α. That is an average over draws of the n images; for *this* threshold the true rate is distributed as
``Beta(n + 1 − k, k)``, whose upper quantile is the bound that is reported (Clopper and Pearson, 1934). It is a
quantile of the binomial tail ``P(Bin(n, p) ≤ k) = I(1 − p; n − k, k + 1)``, computed without SciPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError, UsageError
from edge_ad.evaluation.metrics import MetricError
from edge_ad.manifest import Threshold

__all__ = [
    "binomial_cdf",
    "checked_scores",
    "conformal_rank",
    "fit_threshold",
    "good_images_needed",
    "measured_threshold",
    "rate_upper_bound",
]


def fit_threshold(good_scores: NDArray[Any], *, false_alarm_rate: float = 0.01, confidence: float = 0.95) -> Threshold:
    """Set a threshold from scores of good images that nothing else was fitted on.

    Args:
        good_scores: (N,) raw scores of held-out good images, finite.
        false_alarm_rate: Share of good parts that may be called defective, in (0, 1).
        confidence: Confidence of the reported bound, in (0, 1).

    Returns:
        The conformal quantile of the scores; their maximum where N is too small for the rate, and the rule says so.

    Raises:
        DataError: There are no scores.
        MetricError: NaN or infinite scores.
        UsageError: A rate or confidence outside (0, 1).
    """
    scores = checked_scores(good_scores)
    count = scores.size
    rank = conformal_rank(count, false_alarm_rate)
    used = min(rank, count)
    # Of the N scores, those ranked above the threshold are the false alarms of this sample.
    bound = rate_upper_bound(count - used, count, confidence)
    return Threshold(
        value=float(np.partition(scores, used - 1)[used - 1]),
        rule=_rule(count, rank, false_alarm_rate),
        false_alarm_rate=false_alarm_rate,
        false_alarm_bound=bound,
        confidence=confidence,
        good_images=count,
    )


def measured_threshold(
    value: float, good_scores: NDArray[Any], rule: str, *, false_alarm_rate: float, confidence: float = 0.95
) -> Threshold:
    """A threshold that a person gives, with the bound of Clopper and Pearson from good images that did not choose it.

    Args:
        value: The threshold, finite.
        good_scores: (N,) raw scores of good images, finite.
        rule: Who gave it, in words.
        false_alarm_rate: The rate that is recorded as asked for, in (0, 1).
        confidence: Confidence of the bound, in (0, 1).

    Raises:
        DataError: There are no scores.
        MetricError: NaN or infinite scores.
    """
    scores = checked_scores(good_scores)
    above, count = int((scores > value).sum()), scores.size
    return Threshold(
        value=value,
        rule=f"{rule}; {above} of {count} good photos are above",
        false_alarm_rate=false_alarm_rate,
        false_alarm_bound=rate_upper_bound(above, count, confidence),
        confidence=confidence,
        good_images=count,
    )


def conformal_rank(count: int, false_alarm_rate: float) -> int:
    """Rank of the threshold among ``count`` sorted scores: ``⌈(n + 1)(1 − α)⌉``, from 1; above n when n is too small.

    Args:
        count: Number of scores n, >= 1.
        false_alarm_rate: The rate α, in (0, 1).

    Raises:
        UsageError: A rate outside (0, 1).
    """
    if not 0.0 < false_alarm_rate < 1.0:
        raise UsageError(
            f"A false-alarm rate is between 0 and 1, not {false_alarm_rate}.",
            "Use 0.01 for one good part in a hundred.",
        )
    # Counted from above and rounded: (n + 1)·α of a decimal α is often a hair below the integer it stands for.
    return count + 1 - math.floor(round((count + 1) * false_alarm_rate, 9))


def good_images_needed(false_alarm_rate: float) -> int:
    """Smallest number of good images whose conformal quantile exists for a false-alarm rate in (0, 1)."""
    return math.ceil(round(1.0 / false_alarm_rate, 9)) - 1


def checked_scores(good_scores: NDArray[Any]) -> NDArray[np.float64]:
    """Scores of good images (N,), as float64.

    Raises:
        DataError: There are none.
        MetricError: NaN or infinite scores.
    """
    scores = np.asarray(good_scores, np.float64).ravel()
    if not scores.size:
        raise DataError("There are no good images to set a threshold on.", "Keep some good images out of training.")
    if not np.isfinite(scores).all():
        raise MetricError(
            "Some scores of good images are NaN or infinite.", "The detector is broken: train or export it again."
        )
    return scores


def _rule(count: int, rank: int, false_alarm_rate: float) -> str:
    if rank > count:
        needed, expected_rate = good_images_needed(false_alarm_rate), 1.0 / (count + 1)
        return (
            f"largest of {count} held-out good scores: {needed} are needed for a false-alarm rate of "
            f"{false_alarm_rate:.3g}, {count} give an expected rate of at most {expected_rate:.3g}"
        )
    return (
        f"score {rank} of {count} sorted held-out good scores: conformal quantile for an expected false-alarm rate "
        f"of at most {false_alarm_rate:.3g}"
    )


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
