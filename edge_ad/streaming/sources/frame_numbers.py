"""How many frames a camera made and how many of them never came, from the numbers it gives them."""

from __future__ import annotations

__all__ = ["FrameNumbers"]

_GIGE_NUMBERS = 65535  # GigE Vision's 16-bit numbers go from 1 to here and start again at 1
_WRAPS_ABOVE = 60000


class FrameNumbers:
    """Counts over all connections of a camera; what passed while it was away is an outage, not counted here.

    Attributes:
        count: Frames the camera made; None before the first.
        missed: How many of them never came.
    """

    def __init__(self) -> None:
        self.count: int | None = None
        self.missed = 0
        self._last: int | None = None

    def see(self, number: int) -> None:
        """Take the number of a frame that came."""
        step = 1 if self._last is None else number - self._last
        if step <= 0 and self._last is not None:
            # Smaller than the last: 16-bit numbers that started again, or a camera that did.
            step = step + _GIGE_NUMBERS if self._last > _WRAPS_ABOVE else 1
        self._last = number
        self.add(skipped=step - 1)

    def add(self, *, skipped: int) -> None:
        """Take a frame that came after so many that did not."""
        self.count = (self.count or 0) + 1 + skipped
        self.missed += skipped

    def restart(self) -> None:
        """The next number is the first of a new connection."""
        self._last = None
