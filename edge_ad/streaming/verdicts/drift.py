"""Detects a rise of the scores of good parts before it causes false alarms, and a sudden failure of nearly all parts.

Light ages, lenses get dusty, a tool wears: the scores of good parts creep towards the threshold. Scores of a line are
neither normal (their tail is long) nor independent (neighbours see the same light). So the test uses the medians x_j of
blocks of scores, standardised by median and median absolute deviation of the first K blocks:

    z_j = (x_j - m) / s,   m = median(x_1..x_K),   s = 1.4826 * median |x_i - m|

and tested by a one-sided tabular CUSUM (E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954):

    S_j = max(0, S_{j-1} + min(z_j - k, h / 2)),   report when S_j > h

The slack k is the rise that is not worth a report: one s, or a tenth of the way from m to the threshold if that is
more. A single block, however high, is not enough.

What rises at once, so that hardly any part passes, leaves nothing for that test to see. So the verdicts of all parts
are tested too, by a CUSUM of the share p of parts that fail, p = 1/2 against p = 9/10:

    S_j = max(0, S_{j-1} + log(p1 / p0))               for a part that fails
    S_j = max(0, S_{j-1} + log((1 - p1) / (1 - p0)))   for one that passes, report: S_j > h

It needs no baseline: a stream that begins in the wrong light is reported after 18 parts. Where half of all parts fail
by right there are e^h = 22,000 parts and more from one false report to the next on average (G. Lorden, "Procedures for
reacting to a change in distribution", 1971), and where a fifth do, practically none.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from edge_ad.streaming.verdicts.frame_groups import FrameGroups

__all__ = ["Drift", "DriftMonitor", "FailureMonitor", "Failures"]

_BLOCK = 32
_BASELINE_BLOCKS = 48
_LIMIT = 10.0  # h
_LEAST_SLACK = 1.0  # k, in s
_MARGIN_SLACK = 0.1  # k, as a share of the way to the threshold
_MAD_TO_SIGMA = 1.4826
_LEVEL_WEIGHT = 0.3  # of the newest block in the level that is shown
_USUAL_SHARE, _ALARMING_SHARE = 0.5, 0.9  # p0 and p1
_FAILED = math.log(_ALARMING_SHARE / _USUAL_SHARE)
_PASSED = math.log((1 - _ALARMING_SHARE) / (1 - _USUAL_SHARE))


@dataclass(frozen=True)
class Drift:
    """A rise, or its end.

    Attributes:
        is_over: Whether the scores are back.
        level: Where good scores are now.
        baseline: Where they were at first.
        threshold: What they must stay below.
        share: Share of the way from the baseline to the threshold, 1 at the threshold.
        parts: Good parts seen since the baseline began.
    """

    is_over: bool
    level: float
    baseline: float
    threshold: float
    share: float
    parts: int


class DriftMonitor:
    """Watches the scores of parts that passed; the memory is one block and one baseline.

    Args:
        block: Parts in a block; should exceed the number of neighbours that are alike.
        baseline_blocks: Blocks in the baseline, K.
    """

    def __init__(self, *, block: int = _BLOCK, baseline_blocks: int = _BASELINE_BLOCKS) -> None:
        self._block_size, self._baseline_size = block, baseline_blocks
        self.reset()

    def reset(self) -> None:
        """Start again with a new baseline: another bundle has other scores."""
        self._block: list[float] = []
        self._medians: list[float] = []
        self._baseline = self._spread = math.nan
        self._sum = 0.0
        self._level = math.nan
        self._is_reported = False
        self._parts = 0

    def update(self, score: float, threshold: float) -> Drift | None:
        """Take the score of a part that passed.

        Args:
            score: Raw score; one that is not finite is passed over.
            threshold: The threshold it was judged with.

        Returns:
            What to report, if anything.
        """
        if not math.isfinite(score):
            return None
        self._parts += 1
        self._block.append(score)
        if len(self._block) < self._block_size:
            return None
        median = statistics.median(self._block)
        self._block.clear()
        if math.isnan(self._baseline):
            self._learn(median)
            return None
        return self._test(median, threshold)

    def _learn(self, median: float) -> None:
        self._medians.append(median)
        if len(self._medians) < self._baseline_size:
            return
        self._baseline = self._level = statistics.median(self._medians)
        spread = statistics.median(abs(value - self._baseline) for value in self._medians)
        # Scores that hardly differ (a still picture) must not make every rounding a drift.
        self._spread = max(_MAD_TO_SIGMA * spread, 1e-6 * abs(self._baseline), 1e-12)
        self._medians.clear()

    def _test(self, median: float, threshold: float) -> Drift | None:
        slack = max(_LEAST_SLACK, _MARGIN_SLACK * (threshold - self._baseline) / self._spread)
        excess = (median - self._baseline) / self._spread - slack
        self._sum = max(0.0, self._sum + min(excess, _LIMIT / 2))
        self._level += _LEVEL_WEIGHT * (median - self._level)
        if not self._is_reported and self._sum > _LIMIT:
            self._is_reported = True
            return self._drift(threshold, is_over=False)
        if self._is_reported and self._level < self._baseline + 0.5 * slack * self._spread:
            self._is_reported, self._sum = False, 0.0
            return self._drift(threshold, is_over=True)
        return None

    def _drift(self, threshold: float, *, is_over: bool) -> Drift:
        margin = threshold - self._baseline
        share = (self._level - self._baseline) / margin if margin > 0 else math.inf
        return Drift(is_over, self._level, self._baseline, threshold, share, self._parts)


@dataclass(frozen=True)
class Failures:
    """That nearly all parts fail, or the end of it.

    Attributes:
        is_over: Whether parts pass again.
        failed: Parts, or groups of frames, that failed since it began.
        parts: Parts, or groups of frames, since it began.
    """

    is_over: bool
    failed: int
    parts: int


class FailureMonitor:
    """Watches verdicts of all parts, or of groups of frames; the memory is a few numbers.

    Args:
        has_parts: Whether each verdict is of a part of its own. Frames of one part are alike, and so are their
            verdicts: they count by groups, which fail when more than half of their frames do.
    """

    def __init__(self, *, has_parts: bool = True) -> None:
        self._has_parts = has_parts
        self.reset()

    def reset(self) -> None:
        """Start again: another bundle judges in another way."""
        self._groups, self._group = FrameGroups(), list[bool]()
        self._sum = 0.0
        self._is_reported = False
        self._failed = self._parts = 0

    def update(self, at: float, *, is_defective: bool) -> Failures | None:
        """Take the next verdict.

        Args:
            at: Monotonic time at which its frame was captured, in seconds.
            is_defective: The verdict.

        Returns:
            What is to be reported, if anything.
        """
        if self._has_parts:
            return self._test(is_defective=is_defective)
        found = None
        if self._groups.begins(at):
            found = self._test(is_defective=2 * sum(self._group) > len(self._group))
            self._group.clear()
        self._group.append(is_defective)
        return found

    def _test(self, *, is_defective: bool) -> Failures | None:
        self._parts += 1
        self._failed += is_defective
        self._sum = min(max(0.0, self._sum + (_FAILED if is_defective else _PASSED)), _LIMIT + _FAILED)
        found = None
        if not self._is_reported and self._sum > _LIMIT:
            self._is_reported = True
            found = Failures(False, self._failed, self._parts)
        elif self._is_reported and self._sum == 0:
            self._is_reported = False
            found = Failures(True, self._failed, self._parts)
        if self._sum == 0:
            self._failed = self._parts = 0
        return found
