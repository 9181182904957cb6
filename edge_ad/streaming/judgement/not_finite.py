"""An alarm when an engine stops to give numbers: such frames are NG, and somebody must come."""

from __future__ import annotations

from collections.abc import Sequence

from edge_ad.prediction import NOT_FINITE
from edge_ad.streaming.events import Event
from edge_ad.streaming.frame import Result

__all__ = ["NotFiniteAlarm"]

_WELL_AFTER = 32  # frames with finite numbers in a row: every second frame being broken is one fault, not many


class NotFiniteAlarm:
    """Raises ``"alarm"`` at the first frame without finite numbers, and clears it when the engine is well again.

    Args:
        well_after: So many frames in a row with finite numbers end the alarm.
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
