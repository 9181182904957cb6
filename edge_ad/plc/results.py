"""What a PLC is told about one part, made of the results and events of a stream."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from edge_ad.part_position import CUT_OFF, NO_PART
from edge_ad.streaming.frame import NO_RECIPE, Event, RecipeMark, Result
from edge_ad.streaming.records.schema import regions_of

__all__ = ["BETWEEN_PARTS", "PartResult", "PartResults", "ResultRule", "VerdictCode"]

_MOST_32 = 2**32 - 1
BETWEEN_PARTS = frozenset({NO_PART, CUT_OFF})
"""Why a frame is not judged that shows no part to be judged: nothing is wrong."""


class VerdictCode(IntEnum):
    """The verdict on a part."""

    NOTHING = 0
    """No part was judged yet."""
    OK = 1
    NG = 2
    NOT_INSPECTED = 3
    """NG because the part could not be judged: black, no finite number, incomplete."""


@dataclass(frozen=True)
class PartResult:
    """The verdict on one part, or on one frame where there are no parts of several frames.

    Attributes:
        sequence: 1 for the first one of the stream; each is one more than the one before, and after 2³² − 1 comes 1.
        part: Number of the part: its id where that is a number from 0 to 2³² − 1, else the number counted here.
        part_id: Id that the trigger gave it; empty for none.
        code: The verdict.
        reason: Why it was not inspected; empty where it was.
        score: Raw anomaly score; NaN where there is none.
        threshold: Raw score above which it is NG; NaN where there is none.
        regions: Where the defects are, as `edge_ad.regions.Region.to_dict` gives them, the highest peak first.
        frames: How many frames of it were judged.
        defective: How many of them were above the threshold.
        source: Number of the source that gave the newest of them, from 1.
        bundle: Content hash of the bundle that judged it, hexadecimal; empty for none.
        at_unix: Wall-clock time of its newest frame, in seconds since the epoch.
        recipe: The recipe that it was judged under.
    """

    sequence: int
    part: int
    part_id: str
    code: VerdictCode
    reason: str
    score: float
    threshold: float
    regions: Sequence[Mapping[str, Any]] = field(default_factory=list)
    frames: int = 1
    defective: int = 0
    source: int = 1
    bundle: str = ""
    at_unix: float = 0.0
    recipe: RecipeMark = NO_RECIPE


@dataclass(frozen=True)
class ResultRule:
    """What becomes a result for the PLC.

    Attributes:
        has_parts: Whether parts are asked for, which have one or more frames: each finished part is a result. Else
            each frame with a verdict is.
    """

    has_parts: bool = False


class PartResults:
    """Makes results, and numbers them.

    Args:
        rule: What becomes one.
    """

    def __init__(self, rule: ResultRule) -> None:
        self._rule = rule
        self._sequence = 0
        self._sources: dict[str, int] = {}

    def of_result(self, result: Result) -> PartResult | None:
        """The result for a judged frame; None where parts are the results."""
        frame, verdict = result.frame, result.verdict
        self._sources[frame.source] = frame.source_index + 1
        if self._rule.has_parts:
            return None
        sequence = self._next()
        return PartResult(
            sequence,
            _number(frame.part, sequence),
            frame.part,
            _code(is_defective=verdict.is_anomalous, reason=verdict.reason),
            verdict.reason,
            verdict.score,
            verdict.threshold,
            regions_of(result),
            defective=int(verdict.is_anomalous),
            source=frame.source_index + 1,
            bundle=result.bundle,
            at_unix=frame.captured_unix,
            recipe=result.recipe,
        )

    def of_event(self, event: Event) -> PartResult | None:
        """The result for a finished part; None for any other event."""
        if event.kind != "part" or not self._rule.has_parts:
            return None
        data, sequence = event.data, self._next()
        reason = str(data["reason"])
        return PartResult(
            sequence,
            _number(str(data["part_id"]), int(data["part"]) + 1),
            str(data["part_id"]),
            _code(is_defective=data["verdict"] == "NG", reason=reason),
            reason,
            _float(data["score"]),
            _float(data["threshold"]),
            data["regions"],
            frames=int(data["frames"]),
            defective=int(data["defective"]),
            source=self._sources.get(event.source, 0),
            bundle=str(data["bundle"]),
            at_unix=event.at_unix,
            recipe=RecipeMark(str(data.get("recipe", "")), str(data.get("recipe_hash", ""))),
        )

    def _next(self) -> int:
        self._sequence = self._sequence % _MOST_32 + 1
        return self._sequence


def _code(*, is_defective: bool, reason: str) -> VerdictCode:
    if reason:
        return VerdictCode.NOT_INSPECTED
    return VerdictCode.NG if is_defective else VerdictCode.OK


def _number(part_id: str, counted: int) -> int:
    is_number = part_id.isascii() and part_id.isdigit() and len(part_id) <= len(str(_MOST_32))
    return min(int(part_id), _MOST_32) if is_number else counted & _MOST_32


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
