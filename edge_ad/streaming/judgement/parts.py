"""Which frames belong to one part, and when the part as a whole is defective: n of its m frames."""

from __future__ import annotations

import heapq
import math
import re
from dataclasses import dataclass

from edge_ad.errors import UsageError
from edge_ad.streaming.frame import Result

__all__ = ["Part", "PartRule", "Parts"]

_MOST_NEEDED = 1000
_RULE = re.compile(r"(?P<needed>\d{1,6})/(?:(?P<frames>\d{1,6})|gap:(?P<gap>\d+(?:\.\d+)?)(?P<unit>ms|s))")


@dataclass(frozen=True)
class PartRule:
    """What a part is.

    Attributes:
        needed: Frames above the threshold that make it defective, n.
        frames: Judged frames it has, m; None when the gap decides.
        gap_s: Time without a judged frame after which the next frame belongs to another part: the pause of a trigger
            between two parts; None when the number decides.
    """

    needed: int
    frames: int | None = None
    gap_s: float | None = None

    @classmethod
    def parse(cls, text: str) -> PartRule:
        """Take ``n/m`` (n of m frames) or ``n/gap:0.5s`` (n of the frames between two pauses of half a second).

        Raises:
            UsageError: It is neither, or n is 0, above m or above 1000.
        """
        match = _RULE.fullmatch(text.strip())
        hint = "Such as 2/5 for two of five frames, or 2/gap:0.5s for two of those between pauses."
        if match is None:
            raise UsageError(f"{text!r} does not say what a part is.", hint)
        needed, frames, gap = int(match["needed"]), match["frames"], match["gap"]
        most = _MOST_NEEDED if frames is None else min(int(frames), _MOST_NEEDED)
        gap_s = None if gap is None else float(gap) / (1000 if match["unit"] == "ms" else 1)
        if not 1 <= needed <= most or gap_s == 0:
            raise UsageError(f"No part can have {text} frames that count.", hint)
        return cls(needed, None if frames is None else int(frames), gap_s)


class Part:
    """One part so far.

    Args:
        number: How many parts of the same source came before.
        rule: What makes it defective and complete.
        first: Its first frame.

    Attributes:
        number: See above.
        frames: Judged frames.
        defective: How many of them count as defective.
        started_unix: Wall-clock time of its first frame.
    """

    def __init__(self, number: int, rule: PartRule, first: Result) -> None:
        self.number, self.frames, self.defective = number, 0, 0
        self.started_unix = first.frame.captured_unix
        self._rule = rule
        self._highest: list[float] = []  # a heap of the n highest scores

    @property
    def is_defective(self) -> bool:
        """Whether n frames are."""
        return self.defective >= self._rule.needed

    @property
    def is_complete(self) -> bool:
        """Whether it has all its m frames."""
        return self._rule.frames is not None and self.frames >= self._rule.frames

    @property
    def score(self) -> float:
        """The n-th highest score of its frames: above the threshold exactly when n frames are.

        The lowest one, while there are fewer than n frames.
        """
        return self._highest[0] if self._highest else math.nan

    def add(self, score: float, *, is_defective: bool) -> None:
        """Count a frame."""
        self.frames += 1
        self.defective += is_defective
        if len(self._highest) < self._rule.needed:
            heapq.heappush(self._highest, score)
        else:
            heapq.heappushpop(self._highest, score)


class Parts:
    """Puts the frames of one source into parts, one after the other.

    Args:
        rule: What a part is.
    """

    def __init__(self, rule: PartRule) -> None:
        self._rule = rule
        self._current: Part | None = None
        self._count = 0
        self._newest_at = -math.inf

    def part_of(self, result: Result) -> tuple[Part, Part | None]:
        """The part a frame belongs to, and the part that it ends by not belonging to it."""
        at, before = result.frame.captured_at, self._current
        has_paused = self._rule.gap_s is not None and at - self._newest_at >= self._rule.gap_s
        self._newest_at = at
        if before is not None and not before.is_complete and not has_paused:
            return before, None
        self._current = Part(self._count, self._rule, result)
        self._count += 1
        return self._current, before if before is not None and not before.is_complete else None

    def end(self) -> Part | None:
        """The last part, when the gap decides and so nothing is missing from it."""
        part, self._current = self._current, None
        return part if part is not None and self._rule.gap_s is not None else None
