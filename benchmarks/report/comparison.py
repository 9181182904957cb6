"""New results against old ones: what became slower, and whether noise could explain it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report.bootstrap import RatioInterval, paired_ratio, unpaired_ratio
from benchmarks.report.rows import LatencyRow, Round

__all__ = ["Change", "Comparison", "Limits", "compare_results"]

_FALSE_ALARM_RATE = 0.05
_FEWEST_ROUNDS = 5
_CHECKED_METRICS = ("image_auroc", "pixel_auroc", "pro")


@dataclass(frozen=True)
class Limits:
    """What is allowed.

    Attributes:
        regression: Share by which the median may rise, such as 0.05.
        accuracy_drop: By how much image AUROC, pixel AUROC or PRO may fall.
    """

    regression: float = 0.05
    accuracy_drop: float = 0.005


@dataclass(frozen=True)
class Change:
    """One row against its older self.

    Attributes:
        row: The new row.
        interval: New median over old, with its interval.
        how: ``paired`` (the same rounds), ``yardstick`` (each round divided by a fixed work's time) or ``plain``.
        verdict: ``slower``, ``slower within the limit``, ``faster``, ``no change shown`` or ``too few rounds``.
        accuracy: Metric → new minus old; empty where one side has none.
        accuracy_fell: Metrics that fell by more than the limit.
    """

    row: LatencyRow
    interval: RatioInterval
    how: str
    verdict: str
    accuracy: dict[str, float]
    accuracy_fell: list[str]

    @property
    def is_regression(self) -> bool:
        """Whether it is past a limit."""
        return self.verdict == "slower" or bool(self.accuracy_fell)


@dataclass(frozen=True)
class Comparison:
    """All rows that both results have.

    Attributes:
        changes: In the order of the new results.
        only_new: Labels of rows that the old results lack.
        only_old: Labels of rows that the new results lack.
        limits: What was allowed.
    """

    changes: list[Change]
    only_new: list[str]
    only_old: list[str]
    limits: Limits

    @property
    def regressions(self) -> list[Change]:
        """Changes past a limit."""
        return [change for change in self.changes if change.is_regression]


def compare_results(new: Sequence[LatencyRow], old: Sequence[LatencyRow], limits: Limits) -> Comparison:
    """Compare rows that measure the same thing.

    A row is slower when its interval lies above 1 and its ratio above the limit. The intervals are wide enough that
    all of them together raise a false alarm in at most one of twenty comparisons (Bonferroni). Rounds in which a
    virtual machine's host took its time (`Round.is_calm`) count only where there are too few others.

    Args:
        new: New rows.
        old: Old rows.
        limits: What is allowed.
    """
    before, after = {row.key: row for row in old}, {row.key: row for row in new}
    common = [key for key in after if key in before]
    confidence = 1 - _FALSE_ALARM_RATE / max(1, len(common))
    return Comparison(
        changes=[_change(after[key], before[key], limits, confidence) for key in common],
        only_new=[", ".join(key) for key in after if key not in before],
        only_old=[", ".join(key) for key in before if key not in after],
        limits=limits,
    )


def _change(new: LatencyRow, old: LatencyRow, limits: Limits, confidence: float) -> Change:
    interval, how = _ratio(new, old, confidence)
    few = min(len(new.rounds), len(old.rounds)) < _FEWEST_ROUNDS
    accuracy = _accuracy(new, old)
    return Change(
        row=new,
        interval=interval,
        how=how,
        verdict="too few rounds" if few else _verdict(interval, limits.regression),
        accuracy=accuracy,
        accuracy_fell=[name for name, value in accuracy.items() if value < -limits.accuracy_drop],
    )


def _ratio(new: LatencyRow, old: LatencyRow, confidence: float) -> tuple[RatioInterval, str]:
    if new.session == old.session and len(new.rounds) == len(old.rounds):
        pairs = list(zip(new.rounds, old.rounds, strict=True))
        calm = [pair for pair in pairs if pair[0].is_calm and pair[1].is_calm]
        chosen = calm if len(calm) >= _FEWEST_ROUNDS else pairs
        first, second = ([pair[side] for pair in chosen] for side in (0, 1))
        return paired_ratio(_medians(first), _medians(second), confidence=confidence), "paired"
    first, second = _calm(new.rounds), _calm(old.rounds)
    if _same_yardstick(new, old):
        over = [[item.p50_ms / item.yardstick_ms for item in rounds] for rounds in (first, second)]
        return unpaired_ratio(*over, confidence=confidence), "yardstick"
    return unpaired_ratio(_medians(first), _medians(second), confidence=confidence), "plain"


def _calm(rounds: list[Round]) -> list[Round]:
    """Rounds in which nobody took the machine's time; all of them where those are too few."""
    calm = [item for item in rounds if item.is_calm]
    return calm if len(calm) >= _FEWEST_ROUNDS else rounds


def _medians(rounds: Sequence[Round]) -> list[float]:
    return [item.p50_ms for item in rounds]


def _same_yardstick(new: LatencyRow, old: LatencyRow) -> bool:
    first, second = (row.machine.get("yardstick") for row in (new, old))
    return first is not None and first == second


def _verdict(interval: RatioInterval, regression: float) -> str:
    if interval.high < 1:
        return "faster"
    if interval.low <= 1:
        return "no change shown"
    return "slower" if interval.ratio > 1 + regression else "slower within the limit"


def _accuracy(new: LatencyRow, old: LatencyRow) -> dict[str, float]:
    if new.accuracy is None or old.accuracy is None or new.accuracy.data != old.accuracy.data:
        return {}
    first, second = new.accuracy.metrics, old.accuracy.metrics
    return {name: first[name] - second[name] for name in _CHECKED_METRICS if name in first and name in second}
