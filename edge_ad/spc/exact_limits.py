"""Limits for the share of NG that follow from a base period without any NG, of which a p chart has none."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from edge_ad.spc.control_charts import ControlChart
from edge_ad.spc.run_rules import RunRule, Signal

__all__ = ["exact_share_chart", "is_more_than_chance", "share_bound"]

_CHANCE = 0.5 * math.erfc(3 / math.sqrt(2))  # of a normal value above 3 σ: 0.00135


def exact_share_chart(
    defective: NDArray[np.int64], sizes: NDArray[np.int64], base_frames: int, rule: RunRule
) -> ControlChart:
    """A chart of NG shares against a base period of N frames without any NG.

    The upper limit is the largest share x/n that chance brings into a subgroup, see `is_more_than_chance`. There is no
    lower limit. Subgroups of few NG have no run rules.

    Args:
        defective: int64 (M,) NG of each subgroup.
        sizes: int64 (M,) frames of it, n, at least 1.
        base_frames: N, at least 1.
        rule: That a point is beyond its limit.
    """
    shares = defective / sizes
    upper = np.array([_most_by_chance(int(size), base_frames) / size for size in sizes], np.float64)
    signals = tuple(Signal(int(index), rule) for index in np.flatnonzero(shares > upper))
    return ControlChart(shares, np.full(len(sizes), np.nan), 0.0, np.zeros(len(sizes)), upper, signals)


def is_more_than_chance(defective: int, frames: int, base_frames: int) -> bool:
    """Whether so many NG say that the share has risen since a base period without any: x of n frames, after 0 of N.

    With the same share in both, each NG is as likely to be any of the n + N frames, so that all x are among the n with
    the hypergeometric probability

        P(x) = C(n, x) / C(n + N, x) = n! (n + N − x)! / ((n − x)! (n + N)!)

    It is too small at 0.00135 or less: that of a normal value above 3 σ. This is Fisher's exact test, and what the Q
    chart for a binomial parameter does where that is not known (Quesenberry, Journal of Quality Technology 23(3), 1991,
    239–246).

    Args:
        defective: x, in [0, n].
        frames: n, at least 1.
        base_frames: N, at least 1.
    """
    both = frames + base_frames
    logs = (math.lgamma(frames + 1), math.lgamma(both - defective + 1))
    below = (math.lgamma(frames - defective + 1), math.lgamma(both + 1))
    return sum(logs) - sum(below) <= math.log(_CHANCE)


def share_bound(frames: int, confidence: float = 0.95) -> float:
    """Upper bound on a share of which none was seen: 1 − (1 − confidence)^(1/n), at 95 % about 3/n.

    The rule of three: Hanley and Lippman-Hand, JAMA 249(13), 1983, 1743–1745.

    Args:
        frames: How many were looked at, n, at least 1.
        confidence: In (0, 1).

    Returns:
        The bound, in (0, 1).
    """
    return 1 - math.pow(1 - confidence, 1 / frames)


def _most_by_chance(size: int, base_frames: int) -> int:
    counts = range(1, size + 1)  # the probability falls with each of them
    return bisect_left(counts, True, key=lambda count: is_more_than_chance(count, size, base_frames))
