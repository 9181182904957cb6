"""Measuring until it settles: three windows in a row whose medians agree within a tenth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = ["WINDOWS", "Settings", "spread"]

WINDOWS = 3
_TOLERANCE = 0.10
_FEWEST_RUNS = 240  # whatever the patience: enough for a p99 of which two runs lie above
_SHARE_FOR_RUNS = 0.8  # of the patience; the rest is for the yardstick


@dataclass(frozen=True)
class Settings:
    """How long is long enough.

    Attributes:
        seconds: Measure each engine for at least so long.
        runs: And at least so often, as far as the patience goes.
        most_windows: Give up, and call the row unstable, after so many windows.
        rounds: Rounds of each window; in a round every engine has its turn.
        warm_up_s: Untimed before that, for at least so long.
        warm_up_runs: And at least so often.
        quick: Whether this is shorter than what the suite asks for by default.
        patience_s: Repeat no round and no window after so many seconds of a session: what then is missing is measured
            once, as it comes.
    """

    seconds: float = 10.0
    runs: int = 1000
    most_windows: int = 9
    rounds: int = 8
    warm_up_s: float = 0.2
    warm_up_runs: int = 10
    quick: bool = False
    patience_s: float = 240.0

    def within_patience(self, run_s: float) -> Settings:
        """The same with as many runs as the patience leaves time for, 240 at least; never more.

        Args:
            run_s: What one run of every engine of the session takes together.
        """
        affordable = int(_SHARE_FOR_RUNS * self.patience_s / max(run_s, 1e-9))
        return replace(self, runs=min(self.runs, max(_FEWEST_RUNS, affordable)))

    @classmethod
    def short(cls) -> Settings:
        """A look: 1.5 s and 60 runs; recorded as quick."""
        return cls(seconds=1.5, runs=60, most_windows=4, patience_s=40.0, rounds=4, quick=True)


def spread(medians: Sequence[float]) -> float:
    """Largest over smallest of the last three windows, minus 1; infinite before there are three."""
    if len(medians) < WINDOWS:
        return float("inf")
    last = medians[-WINDOWS:]
    return max(last) / min(last) - 1


def is_stable(medians: Sequence[float]) -> bool:
    """Whether the last three windows agree within a tenth."""
    return spread(medians) <= _TOLERANCE
