"""After one event, silence for a while: an ejector needs its time, and a person needs one call."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edge_ad.errors import UsageError

__all__ = ["CoolDown", "CoolDownRule"]

_RULE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|f|frames?)?")


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
            raise UsageError(f"{text!r} is no time to cool down.", "Give seconds or frames, such as 2s or 30f.")
        if unit.startswith("f"):
            return cls(frames=int(match["number"]))
        return cls(seconds=float(match["number"]) / (1000 if unit == "ms" else 1))


class CoolDown:
    """Lets an event through when the last one it let through is long enough ago.

    Args:
        rule: How long.

    Attributes:
        held_back: Events since that one.
    """

    def __init__(self, rule: CoolDownRule) -> None:
        self._rule = rule
        self._last_at, self._last_frame = -math.inf, -math.inf
        self.held_back = 0

    def lets_through(self, at: float, frame: int) -> bool:
        """Ask for an event.

        Args:
            at: Monotonic time of its frame, in seconds.
            frame: How many frames of the source were judged before it.
        """
        is_too_soon = self._rule.frames > 0 and frame - self._last_frame <= self._rule.frames
        if is_too_soon or at - self._last_at < self._rule.seconds:
            self.held_back += 1
            return False
        self._last_at, self._last_frame = at, frame
        return True
