"""Parts: what belongs together of the frames of a line, and what makes it defective."""

from __future__ import annotations

import heapq
import math
import re
from dataclasses import dataclass
from typing import Any

from edge_ad.errors import UsageError
from edge_ad.part_position import CUT_OFF, NO_PART
from edge_ad.prediction import NOT_FINITE
from edge_ad.streaming.frame import Result
from edge_ad.streaming.records.schema import regions_of

__all__ = ["INCOMPLETE", "Part", "PartRule", "Parts"]

INCOMPLETE = "incomplete"
"""Reason of the verdict on a part that ended before it had all its frames: it was not fully inspected."""

_MOST_NEEDED = 1000
_MOST_OPEN = 16  # parts that wait for a frame of another camera; beyond that the oldest counts as over
_RULE = re.compile(
    r"(?P<needed>\d{1,6})/(?:(?P<frames>\d{1,6})(?P<by_id>:id)?|gap:(?P<gap>\d+(?:\.\d+)?)(?P<unit>ms|s))"
)
_NOT_ASKED_FOR = frozenset({"paused", "not triggered", "golden check"})
_BETWEEN_PARTS = frozenset({NO_PART, CUT_OFF})  # what a camera sees of parts that come and go


@dataclass(frozen=True)
class PartRule:
    """What a part is.

    Attributes:
        needed: Frames above the threshold that make it defective, n.
        frames: Frames it has, m; None when the gap decides.
        gap_s: Time without a judged frame after which the next frame belongs to another part: the pause of a trigger
            between two parts; None when the number decides.
        by_id: Whether a part is made of the frames with the same id from the trigger: several cameras look at one part.
            They must come from as many different sources as have given frames with ids, m at most.
    """

    needed: int
    frames: int | None = None
    gap_s: float | None = None
    by_id: bool = False

    @classmethod
    def parse(cls, text: str) -> PartRule:
        """Take ``n/m`` (n of m frames), ``n/m:id`` or ``n/gap:0.5s``.

        The second is n of the m frames for which the trigger gave the same id, the third n of those between two pauses
        of half a second.

        Raises:
            UsageError: It is none of them, or n is 0, above m or above 1000.
        """
        match = _RULE.fullmatch(text.strip())
        hint = "Such as 2/5 for two of five frames, 1/4:id for four with one id, 2/gap:0.5s for those between pauses."
        if match is None:
            raise UsageError(f"{text!r} does not say what a part is.", hint)
        needed, frames, gap = int(match["needed"]), match["frames"], match["gap"]
        most = _MOST_NEEDED if frames is None else min(int(frames), _MOST_NEEDED)
        gap_s = None if gap is None else float(gap) / (1000 if match["unit"] == "ms" else 1)
        if not 1 <= needed <= most or gap_s == 0:
            raise UsageError(f"No part can have {text} frames that count.", hint)
        return cls(needed, None if frames is None else int(frames), gap_s, match["by_id"] is not None)

    def counts(self, reason: str) -> bool:
        """Whether a frame belongs to a part though it is not judged for this reason, such as ``"black"``.

        Left out, it would make room for a frame of the next part. By id, the trigger's answer decides; where pauses
        decide, a part that is not there or only comes into view is such a pause.
        """
        if self.by_id or reason in _NOT_ASKED_FOR:
            return False
        return self.frames is not None or reason not in _BETWEEN_PARTS


class Part:
    """A part so far. A frame without a finite score makes it defective, whatever the rule.

    Args:
        number: How many parts of the same source came before.
        rule: What makes it defective and complete.
        first: Its first frame.

    Attributes:
        number: See above.
        frames: Judged frames.
        defective: How many of them count as defective.
        started_unix: Wall-clock time of its first frame.
        name: Its id from the trigger; empty for none.
        needed_sources: Number of different sources that its frames must come from.
        reason: Why it is defective regardless of its scores: ``"not finite"``, ``"incomplete"``; empty otherwise.
        regions: Where the defects are on its worst frame, as `regions_of` gives them; empty where it has none.
    """

    def __init__(self, number: int, rule: PartRule, first: Result) -> None:
        self.number, self.frames, self.defective = number, 0, 0
        self.started_unix = first.frame.captured_unix
        self.name = first.frame.part
        self.needed_sources = 1
        self.reason = ""
        self.regions: list[dict[str, Any]] = []
        self._worst = -math.inf
        self._rule = rule
        self._sources: set[str] = set()
        self._highest: list[float] = []  # a heap of the n highest scores

    @property
    def is_defective(self) -> bool:
        """Whether n frames are defective, or it was not fully inspected."""
        return bool(self.reason) or self.defective >= self._rule.needed

    @property
    def is_complete(self) -> bool:
        """Whether it has all its m frames; a second frame of one camera does not replace that of another."""
        has_all = self._rule.frames is not None and self.frames >= self._rule.frames
        return has_all and len(self._sources) >= self.needed_sources

    @property
    def is_alone(self) -> bool:
        """Whether no other frame can belong to it, because the trigger gave no id."""
        return self._rule.by_id and not self.name

    @property
    def score(self) -> float:
        """The n-th highest score of its frames: above the threshold exactly when n frames are.

        While there are fewer than n frames, the lowest. A score that is not finite counts as infinity.
        """
        return self._highest[0] if self._highest else math.nan

    def add(self, result: Result, *, is_defective: bool) -> None:
        """Count a frame."""
        self.frames += 1
        self._sources.add(result.frame.source)
        self.defective += is_defective
        self.reason = self.reason or result.verdict.reason
        is_known = result.verdict.reason != NOT_FINITE and math.isfinite(result.verdict.score)
        score = float(result.verdict.score) if is_known else math.inf
        if result.is_defective and score > self._worst:
            self._worst, self.regions = score, regions_of(result)
        if len(self._highest) < self._rule.needed:
            heapq.heappush(self._highest, score)
        else:
            heapq.heappushpop(self._highest, score)

    def end(self) -> None:
        """Note that no frame follows: a part that lacks frames was not inspected.

        One that ends with a pause lacks some when it is too short to have n defective ones and yet has one.
        """
        is_too_short = self.defective > 0 and self.frames < self._rule.needed
        if is_too_short if self._rule.frames is None else not self.is_complete:
            self.reason = self.reason or INCOMPLETE


class Parts:
    """Groups frames into parts: one at a time, or by id, with several open at once.

    Args:
        rule: What a part is.
    """

    def __init__(self, rule: PartRule) -> None:
        self._rule = rule
        self._current: Part | None = None
        self._open: dict[str, Part] = {}
        self._sources: set[str] = set()  # that gave frames with ids; no more than a part has frames
        self._count = 0
        self._newest_at = -math.inf

    def part_of(self, result: Result) -> tuple[Part, Part | None]:
        """The part that a frame belongs to, and the earlier part that it ends, if any."""
        if self._rule.by_id:
            return self._part_by_id(result)
        at, before = result.frame.captured_at, self._current
        has_paused = self._rule.gap_s is not None and at - self._newest_at >= self._rule.gap_s
        self._newest_at = at
        if before is not None and not before.is_complete and not has_paused:
            return before, None
        self._current = Part(self._count, self._rule, result)
        self._count += 1
        return self._current, before if before is not None and not before.is_complete else None

    def end(self) -> list[Part]:
        """The open parts when the stream ends: complete or incomplete."""
        under_way = [part for part in (self._current, *self._open.values()) if part and not part.is_complete]
        self._current, self._open = None, {}
        return under_way

    def _part_by_id(self, result: Result) -> tuple[Part, Part | None]:
        self._open = {key: part for key, part in self._open.items() if not part.is_complete}
        name, oldest = result.frame.part, None
        part = self._open.get(name)
        if part is None:
            part = Part(self._count, self._rule, result)
            self._count += 1
        if part.is_alone:
            return part, None
        if name not in self._open and len(self._open) >= _MOST_OPEN:
            oldest = self._open.pop(next(iter(self._open)))
        self._open[name] = part
        if len(self._sources) < (self._rule.frames or 1):
            self._sources.add(result.frame.source)
        part.needed_sources = len(self._sources)
        return part, oldest
