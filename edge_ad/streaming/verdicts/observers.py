"""Observers of results: their contract, hysteresis, cool-down, and the alarm for scores that are not finite."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edge_ad.errors import UsageError
from edge_ad.prediction import NOT_FINITE, Verdict
from edge_ad.streaming.frame import Event, Result

__all__ = [
    "CoolDown",
    "CoolDownRule",
    "CountingObserver",
    "EndingObserver",
    "Hysteresis",
    "NotFiniteAlarm",
    "Observer",
]

_WELL_AFTER = 32  # finite frames in a row: if every second frame is broken, that is one fault, not many
_RULE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|f|frames?)?")


class Observer(Protocol):
    """Sees every result in the order of the frames, and gives the events that follow."""

    def see(self, result: Result) -> Sequence[Event]:
        """Take the next result and give the events that follow from it."""


@runtime_checkable
class EndingObserver(Observer, Protocol):
    """An observer with events left when the stream is over."""

    def end(self) -> Sequence[Event]:
        """The events that only the end of the stream decides."""


@runtime_checkable
class CountingObserver(Observer, Protocol):
    """An observer for which some frames count though they cannot be judged; they get a verdict: defective."""

    def counts(self, reason: str) -> bool:
        """Whether a frame counts that is not judged for this reason, such as ``"black"``."""


class Hysteresis:
    """A Schmitt trigger on the score s, with the threshold t as its upper limit:

        enter:  s > t            leave:  s <= t - (1 - ratio) * |t|

    The lower limit is ``ratio * t`` for the positive thresholds that all detectors have, and moves with the threshold.
    A score that is not finite is above every limit.

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


class NotFiniteAlarm:
    """Raises ``"alarm"`` at the first frame without finite numbers, and clears it when they are finite again.

    Args:
        well_after: Frames in a row with finite numbers that end the alarm.
    """

    def __init__(self, well_after: int = _WELL_AFTER) -> None:
        self._well_after = well_after
        self._is_raised = False
        self._finite_in_row = 0
        self._count = 0

    def see(self, result: Result) -> Sequence[Event]:
        """Take the next result and give the events that follow from it."""
        if result.verdict.reason == NOT_FINITE:
            return self._not_finite(result)
        self._finite_in_row += 1
        if not self._is_raised or self._finite_in_row < self._well_after:
            return ()
        self._is_raised, count, self._count = False, self._count, 0
        text = f"The engine gives finite numbers again; {count} frames were NG without one."
        return [self._event("alarm cleared", result, text, frames=count)]

    def _not_finite(self, result: Result) -> Sequence[Event]:
        self._finite_in_row = 0
        self._count += 1
        if self._is_raised:
            return ()
        self._is_raised = True
        text = f"The score or the anomaly map of frame {result.frame.index} is not finite: such frames are NG."
        return [self._event("alarm", result, text, frame=result.frame.index)]

    def _event(self, kind: str, result: Result, text: str, **data: object) -> Event:
        frame = result.frame
        return Event(
            kind, frame.captured_unix, frame.source, text, {"alarm": NOT_FINITE, "bundle": result.bundle, **data}
        )


@dataclass(frozen=True)
class CoolDownRule:
    """How long it is silent after an event.

    Attributes:
        seconds: Of capture time; 0 for none.
        frames: Judged frames; 0 for none.
    """

    seconds: float = 0.0
    frames: int = 0

    @classmethod
    def parse(cls, text: str) -> CoolDownRule:
        """Take ``2s``, ``500ms`` or ``30f`` (frames); a number alone is seconds.

        Raises:
            UsageError: It is none of these.
        """
        match = _RULE.fullmatch(text.strip())
        unit = match["unit"] or "s" if match else ""
        if match is None or (unit.startswith("f") and "." in match["number"]):
            raise UsageError(f"{text!r} is not a cool-down time.", "Give seconds or frames, such as 2s or 30f.")
        if unit.startswith("f"):
            return cls(frames=int(match["number"]))
        return cls(seconds=float(match["number"]) / (1000 if unit == "ms" else 1))


class CoolDown:
    """Passes an event when the last one passed is long enough ago.

    Args:
        rule: How long.

    Attributes:
        held_back: Events since that one.
    """

    def __init__(self, rule: CoolDownRule) -> None:
        self._rule = rule
        self._last_at, self._last_frame = -math.inf, -math.inf
        self.held_back = 0

    def lets_through(self, at: float, frame: int, *, is_new: bool = True) -> bool:
        """Ask for an event.

        Args:
            at: Monotonic time of its frame, in seconds.
            frame: How many frames of the source were judged before it.
            is_new: Whether it was not asked for before.
        """
        is_too_soon = self._rule.frames > 0 and frame - self._last_frame <= self._rule.frames
        if is_too_soon or at - self._last_at < self._rule.seconds:
            self.held_back += is_new
            return False
        self._last_at, self._last_frame = at, frame
        return True
