"""The decision threshold from scores of all good photos, each by a detector that was fitted on the other blocks.

The threshold is the conformal rank (see `thresholds`) among the *different* photos: those that show the same thing
again share one vote. Two things are promised less than by as many photos that nothing else was fitted on:

- A new part is scored by one detector, and the scores come from several. CV+ (Barber et al. 2021), which asks all of
  them, keeps ``2α + min(2 (1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1))`` with K folds of exchangeable photos. One
  detector has no such proof; it keeps α where leaving a block out hardly moves it.
- Photos of one block are alike, and the line goes on with a block of its own. Where the scores differ between blocks
  by more than chance, n photos carry as much as ``n / (1 + (b - 1) ρ)`` single ones (Kish 1965), with b photos in a
  block and ρ the share of the variance that lies between blocks, of the ranks of the scores.

So the stated rate is ``2 max(α, 1 / (n_eff + 1))``, but not below what the blocks have shown: the share of each block
above the threshold that the other blocks set, in the mean. It is measured (docs/explanation/thresholds.md) and not
proven; the bound of the confidence is that of n_eff scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.evaluation.thresholds import checked_scores, conformal_rank, good_images_needed, rate_upper_bound
from edge_ad.manifest import Threshold

__all__ = ["effective_count", "expected_rate_bound", "fit_cross_fitted_threshold", "stated_rate"]


def fit_cross_fitted_threshold(
    scores: NDArray[Any],
    blocks: Sequence[int],
    groups: Sequence[int] | None = None,
    *,
    false_alarm_rate: float = 0.01,
    confidence: float = 0.95,
) -> Threshold:
    """Set a threshold from scores of good photos by detectors that have not seen their block.

    Args:
        scores: (N,) raw scores, finite.
        blocks: (N,) number of the block that each photo was left out with.
        groups: (N,) the same number for photos that show the same thing; None where all differ.
        false_alarm_rate: Share of good parts that may be called defective, in (0, 1).
        confidence: Confidence of the reported bound, in (0, 1).

    Returns:
        The score of the conformal rank among the different photos; the largest where they are too few.

    Raises:
        DataError: There are no scores.
        MetricError: NaN or infinite scores.
        UsageError: A rate or confidence outside (0, 1), or parts of different lengths.
    """
    values = checked_scores(scores)
    weights = _weights(values.size, groups)
    if len(blocks) != values.size:
        raise UsageError(f"{values.size} scores have {len(blocks)} blocks.")
    different = round(float(weights.sum()))
    rank = conformal_rank(different, false_alarm_rate)
    effective = effective_count(values, blocks, groups)
    stated = stated_rate(values, blocks, groups, false_alarm_rate=false_alarm_rate)
    value = _of_rank(values, weights, rank)
    if len(set(blocks)) == 1:
        return _of_the_only_photo(value, false_alarm_rate, confidence)
    above = float(weights[values > value].sum()) / different * effective
    trials = max(1, math.floor(effective))
    return Threshold(
        value=value,
        rule=_rule(different, rank, false_alarm_rate, effective, len(set(blocks)), stated),
        false_alarm_rate=false_alarm_rate,
        false_alarm_bound=rate_upper_bound(min(math.ceil(round(above, 6)), trials), trials, confidence),
        confidence=confidence,
        good_images=different,
    )


def _of_the_only_photo(value: float, false_alarm_rate: float, confidence: float) -> Threshold:
    return Threshold(
        value=value,
        rule="middle score of the only good photo in other lights, by the detector that was fitted on it: it promises "
        "nothing; set it on photos of more good parts: edge-ad threshold BUNDLE --from-good DIR",
        false_alarm_rate=false_alarm_rate,
        false_alarm_bound=1.0,
        confidence=confidence,
        good_images=1,
    )


def effective_count(scores: NDArray[Any], blocks: Sequence[int], groups: Sequence[int] | None = None) -> float:
    """How many single photos these carry as much as.

    ``n / (1 + (b - 1) ρ)`` with the intraclass correlation ρ of the ranks, from a one-way analysis of variance, not
    below 0.

    Args:
        scores: (N,).
        blocks: (N,) number of the block of each.
        groups: (N,) the same number for photos that show the same thing; None where all differ.

    Returns:
        From the number of blocks to the number of different photos.
    """
    ranks = np.argsort(np.argsort(np.asarray(scores, np.float64), kind="stable"), kind="stable").astype(np.float64)
    numbers = np.asarray(blocks)
    weights = _weights(ranks.size, groups)
    different, kinds = float(weights.sum()), np.unique(numbers)
    sizes = np.array([weights[numbers == kind].sum() for kind in kinds])
    if len(kinds) < 2 or different <= len(kinds):
        return different
    means = np.array([np.average(ranks[numbers == kind], weights=weights[numbers == kind]) for kind in kinds])
    within = sum(float(weights[numbers == kind] @ np.square(ranks[numbers == kind] - mean))
                 for kind, mean in zip(kinds, means, strict=True)) / (different - len(kinds))  # fmt: skip
    between = float(sizes @ np.square(means - np.average(ranks, weights=weights))) / (len(kinds) - 1)
    size = (different - float(np.square(sizes).sum()) / different) / (len(kinds) - 1)
    total = between + (size - 1) * within
    correlation = min(1.0, max(0.0, (between - within) / total)) if total > 0 else 0.0
    return different / (1 + (size - 1) * correlation)


def expected_rate_bound(false_alarm_rate: float, effective: float) -> float:
    """The expected false-alarm rate that is stated, ``2 max(α, 1 / (n_eff + 1))``, at most 1."""
    return min(1.0, 2 * max(false_alarm_rate, 1 / (effective + 1)))


def stated_rate(
    scores: NDArray[Any], blocks: Sequence[int], groups: Sequence[int] | None = None, *, false_alarm_rate: float
) -> float:
    """The expected false-alarm rate that is stated for these scores, in (0, 1].

    Args:
        scores: (N,) raw scores, finite.
        blocks: (N,) number of the block of each.
        groups: (N,) the same number for photos that show the same thing; None where all differ.
        false_alarm_rate: The rate that is asked for, in (0, 1).
    """
    bound = expected_rate_bound(false_alarm_rate, effective_count(scores, blocks, groups))
    return max(bound, _left_out_rate(np.asarray(scores, np.float64), np.asarray(blocks), groups, false_alarm_rate))


def _left_out_rate(
    scores: NDArray[np.float64], blocks: NDArray[Any], groups: Sequence[int] | None, false_alarm_rate: float
) -> float:
    """Share of the different photos that are above the threshold which the other blocks set; 0 for one block."""
    weights, above = _weights(scores.size, groups), 0.0
    for block in np.unique(blocks) if len(set(blocks.tolist())) > 1 else ():
        own = blocks == block
        rank = conformal_rank(max(1, round(float(weights[~own].sum()))), false_alarm_rate)
        value = _of_rank(scores[~own], weights[~own], rank)
        above += float(weights[own & (scores > value)].sum())
    return above / float(weights.sum())


def _weights(count: int, groups: Sequence[int] | None) -> NDArray[np.float64]:
    if groups is None:
        return np.ones(count)
    if len(groups) != count:
        raise UsageError(f"{count} scores have {len(groups)} groups.")
    _, inverse, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / sizes[inverse], np.float64)


def _of_rank(values: NDArray[np.float64], weights: NDArray[np.float64], rank: int) -> float:
    """Smallest score up to which ``rank`` votes lie; the largest where there are fewer."""
    order = np.argsort(values, kind="stable")
    votes = np.round(np.cumsum(weights[order]), 9)
    index = min(int(np.searchsorted(votes, rank)), values.size - 1)
    return float(values[order][index])


def _rule(different: int, rank: int, false_alarm_rate: float, effective: float, blocks: int, stated: float) -> str:
    if rank > different:
        which = (
            f"largest of {different} good scores: {good_images_needed(false_alarm_rate)} different photos are needed "
            f"for a false-alarm rate of {false_alarm_rate:.3g}; "
        )
    else:
        which = f"score {rank} of {different} sorted good scores for a false-alarm rate of {false_alarm_rate:.3g}; "
    carried = "" if effective > 0.95 * different else f", which differ, so that they carry as much as {effective:.0f}"
    return (
        f"{which}each score by a detector fitted without its block, one of {blocks}{carried}; stated as expected: "
        f"at most {stated:.3g}"
    )
