"""A part that passes a line in the picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.streaming.frame import Frame
from edge_ad.streaming.triggers.base import Trigger

__all__ = ["DIFFERENCE", "REFRACTORY_S", "MotionTrigger"]

DIFFERENCE = 12.0  # grey levels: several times the noise of a sensor, averaged over the line
REFRACTORY_S = 0.5  # the front of a part fires, the rest of it does not
_MOST_POINTS = 256
_Point = tuple[int, int]


@dataclass
class _Line:
    """What a source showed on the line."""

    before: NDArray[np.int16] | None = None
    fired_at: float = field(default=float("-inf"))


class MotionTrigger(Trigger):
    """Fires when the pixels on a line change from one frame to the next.

    Args:
        start: x and y of one end, in pixels of the frame (of the region, when there is one).
        end: x and y of the other end.
        difference: Mean absolute change along the line that is motion, in grey levels of 255.
        refractory_s: Seconds of silence after it has fired.
    """

    def __init__(
        self, start: _Point, end: _Point, *, difference: float = DIFFERENCE, refractory_s: float = REFRACTORY_S
    ) -> None:
        self._start, self._end = start, end
        self._difference, self._refractory_s = difference, refractory_s
        points = min(_MOST_POINTS, 1 + max(abs(start[0] - end[0]), abs(start[1] - end[1])))
        self._columns = np.linspace(start[0], end[0], points).round().astype(np.intp)
        self._rows = np.linspace(start[1], end[1], points).round().astype(np.intp)
        self._lines: dict[int, _Line] = {}

    def fires(self, frame: Frame) -> bool:
        """Whether something entered or left the line since the frame before.

        Raises:
            UsageError: The line reaches beyond the frame.
        """
        now = self._on_line(frame.image)
        line = self._lines.setdefault(frame.source_index, _Line())
        before, line.before = line.before, now
        if before is None or frame.captured_at - line.fired_at < self._refractory_s:
            return False
        if float(np.abs(now - before).mean()) < self._difference:
            return False
        line.fired_at = frame.captured_at
        return True

    def _on_line(self, image: NDArray[np.uint8]) -> NDArray[np.int16]:
        height, width = image.shape[:2]
        if self._rows.max() >= height or self._columns.max() >= width:
            raise UsageError(
                f"The trigger's line {self._start} to {self._end} reaches beyond the frame.",
                f"The frame has {width}×{height} pixels, counted from 0.",
            )
        return image[self._rows, self._columns].astype(np.int16)
