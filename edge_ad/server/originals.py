"""The newest frames of the galleries as they were judged, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from edge_ad.streaming.frame import Frame

__all__ = ["Originals"]

_MOST_BYTES = 256 << 20


class Originals:
    """A ring of frames by the number of their find; not thread-safe.

    Args:
        most_bytes: The oldest go when all together are larger.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._frames: OrderedDict[int, Frame] = OrderedDict()

    def keep(self, number: int, frame: Frame) -> None:
        """Keep the frame of a find in place of an earlier one."""
        if frame.image.base is not None:  # a part of a frame would keep all of it in memory
            frame = replace(frame, image=frame.image.copy())
        self.drop(number)
        self._frames[number] = frame
        self._bytes += frame.image.nbytes
        while self._bytes > self._most_bytes:
            self.drop(next(iter(self._frames)))

    def drop(self, number: int) -> None:
        """Forget the frame of a find, if it is there."""
        if (old := self._frames.pop(number, None)) is not None:
            self._bytes -= old.image.nbytes

    def get(self, number: int) -> Frame | None:
        """The frame of a find; None when it is no longer kept."""
        return self._frames.get(number)
