"""The newest defective parts, with their pictures."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from edge_ad.streaming.frame import Result

__all__ = ["Find", "Gallery"]

_CAPACITY = 48
_SAME_PART_S = 0.5  # frames above the threshold that follow each other this closely show one part
_LONGEST_PART_S = 10.0
_REPAINT_S = 1.0


@dataclass
class Find:
    """One defective part: a run of frames above the threshold.

    Attributes:
        number: From 1, in the order of appearance.
        source: Name of the source.
        at_unix: When its worst frame was captured.
        score: Highest score of the run; one that is not finite is above all others.
        threshold: The one that judged that frame.
        frame: Number of that frame.
        path: The file it comes from; empty when it comes from none.
        frames: How many frames the run has so far.
        version: Grows with every new picture; 0 before the first.
        pictures: Kind of picture → JPEG.
    """

    number: int
    source: str
    started_at: float
    at_unix: float
    score: float
    threshold: float
    frame: int
    path: str = ""
    frames: int = 1
    version: int = 0
    seen_at: float = 0.0
    painted_at: float = 0.0
    pictures: dict[str, bytes] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What the page shows beside its pictures."""
        names = ("number", "source", "at_unix", "score", "threshold", "frame", "path", "frames", "version")
        return {name: getattr(self, name) for name in names}


class Gallery:
    """A ring of finds; not thread-safe.

    Args:
        capacity: How many are kept, with their pictures.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self.changes = 0
        self._capacity = capacity
        self._count = 0
        self._finds: OrderedDict[int, Find] = OrderedDict()
        self._open: dict[int, Find] = {}  # source → the run it is in

    def add(self, result: Result, source: str) -> int | None:
        """Count a frame above the threshold.

        Args:
            result: A judged frame.
            source: Name of its source.

        Returns:
            Number of the find that this frame should be drawn for; None when it needs no new picture.
        """
        frame, score = result.frame, result.verdict.score
        find = self._open.get(frame.source_index)
        if find is None or not self._is_same(find, frame.captured_at):
            return self._start(result, source).number
        find.frames += 1
        find.seen_at = frame.captured_at
        if _severity(score) > _severity(find.score) and frame.captured_at - find.painted_at >= _REPAINT_S:
            find.score, find.threshold, find.painted_at = score, result.verdict.threshold, frame.captured_at
            find.at_unix, find.frame, find.path = frame.captured_unix, frame.index, frame.path
            return find.number
        return None

    def show(self, number: int, pictures: dict[str, bytes]) -> None:
        """Keep the pictures of a find, if it is still there."""
        if (find := self._finds.get(number)) is not None:
            find.pictures = pictures
            find.version += 1
            self.changes += 1

    def picture(self, number: int, kind: str) -> bytes | None:
        """A picture of a find; None when there is none."""
        find = self._finds.get(number)
        return None if find is None else find.pictures.get(kind)

    def rows(self) -> list[dict[str, Any]]:
        """The finds that have pictures, newest first."""
        return [find.to_dict() for find in reversed(self._finds.values()) if find.version]

    @staticmethod
    def _is_same(find: Find, at: float) -> bool:
        return at - find.seen_at <= _SAME_PART_S and at - find.started_at <= _LONGEST_PART_S

    def _start(self, result: Result, source: str) -> Find:
        frame, verdict = result.frame, result.verdict
        self._count += 1
        at, limit = frame.captured_unix, verdict.threshold
        find = Find(self._count, source, frame.captured_at, at, verdict.score, limit, frame.index, frame.path)
        find.seen_at = find.painted_at = frame.captured_at
        self._open[frame.source_index] = self._finds[find.number] = find
        while len(self._finds) > self._capacity:
            self._finds.popitem(last=False)
        return find


def _severity(score: float) -> float:
    """By which scores are ranked: nothing is worse than one that is not finite."""
    return score if math.isfinite(score) else math.inf
