"""Two limits instead of one: a score that trembles at the threshold gives one event and not a hundred."""

from __future__ import annotations

from edge_ad.errors import UsageError
from edge_ad.prediction import Verdict

__all__ = ["Hysteresis"]


class Hysteresis:
    """A Schmitt trigger on the score s, with the threshold t as its upper limit:

        enter:  s > t            leave:  s <= t - (1 - ratio) * |t|

    The lower limit is ``ratio * t`` for the positive thresholds that all detectors have, and moves with the threshold.
    What is not a finite number is above every limit.

    Args:
        ratio: Lower limit as a share of the upper one, in (0, 1]; 1 is no hysteresis.

    Raises:
        UsageError: The ratio is outside (0, 1].
    """  # noqa: D415 - the equations follow

    def __init__(self, ratio: float = 1.0) -> None:
        if not 0 < ratio <= 1:
            message = f"The lower limit of a hysteresis cannot be {ratio:g} of the threshold."
            raise UsageError(message, "Give a share in (0, 1], such as 0.9.")
        self._ratio = ratio
        self.is_inside = False

    def update(self, verdict: Verdict) -> bool:
        """Take the next verdict; whether it counts as defective."""
        lower = verdict.threshold - (1 - self._ratio) * abs(verdict.threshold)
        self.is_inside = verdict.is_anomalous or (self.is_inside and verdict.score > lower)
        return self.is_inside

    def reset(self) -> None:
        """Start outside: another part begins."""
        self.is_inside = False
