"""Recent history in bounded memory: the trend of the scores, pictures of defective and passed frames, the events."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.records.schema import finite

__all__ = ["EventLog", "Find", "Gallery", "GalleryRule", "PartLog", "Trend"]

_SAME_PART_S = 0.5  # frames above the threshold that follow each other this closely show one part
_KEPT_PARTS = 100
_KEPT_EVENTS = 200
_MOST_ALARMS = 20
_QUIET_KINDS = frozenset({"part", "ng", "ng over"})  # one for every part would push out what somebody must read
# Which event ends the alarm that another one starts.
_STARTS = {"source lost": "source", "alarm": "alarm", "drift": "drift", "scene changed": "scene"}
_ENDS: dict[str, tuple[str, ...]] = {
    "source returned": ("source",),
    "alarm cleared": ("alarm",),
    "drift over": ("drift",),
    "scene restored": ("scene",),
    "bundle swapped": ("drift", "scene"),
}
_TOPICS = ("alarm", "name", "sink", "topic")


@dataclass
class Bucket:
    """The results of one slice of time.

    Attributes:
        number: Of the slice: its start divided by the length of a slice.
        low: Lowest finite score; infinity when there is none.
        high: Highest finite score; minus infinity when there is none.
        frames: Results in it.
        defective: How many of them were above the threshold.
        threshold: Threshold of the newest of them.
    """

    number: int
    threshold: float
    low: float = math.inf
    high: float = -math.inf
    frames: int = 0
    defective: int = 0


class Trend:
    """The newest slices of time that had results; not thread-safe.

    Args:
        slice_s: Length of a slice, in seconds.
        kept: How many are kept.
    """

    def __init__(self, slice_s: float, kept: int) -> None:
        self.slice_s = slice_s
        self._kept = kept
        self._buckets: deque[Bucket] = deque(maxlen=kept)

    def add(self, at: float, score: float, threshold: float, *, is_defective: bool) -> None:
        """Count a result.

        Args:
            at: Monotonic time, in seconds.
            score: Raw score; one that is not finite counts, but has no place in the curve.
            threshold: Threshold it was judged with.
            is_defective: Whether it was above the threshold.
        """
        number = math.floor(at / self.slice_s)
        # Frames of one source come in order; one that is late by a slice is counted in the newest.
        if not self._buckets or self._buckets[-1].number < number:
            self._buckets.append(Bucket(number, threshold))
        bucket = self._buckets[-1]
        bucket.frames += 1
        bucket.defective += is_defective
        bucket.threshold = threshold
        if math.isfinite(score):
            bucket.low, bucket.high = min(bucket.low, score), max(bucket.high, score)

    def rows(self, now: float, newest_s: float | None = None) -> list[list[float | None]]:
        """The slices as rows for JSON, oldest first.

        Args:
            now: Monotonic time, in seconds.
            newest_s: Only those of the newest seconds; None for all that are kept.

        Returns:
            Rows of start in monotonic seconds, lowest, highest, frames, defective, threshold; None for what is not
            finite.
        """
        length_s = self.slice_s * self._kept if newest_s is None else newest_s
        first = math.floor((now - length_s) / self.slice_s)
        rows: list[list[float | None]] = []
        for bucket in reversed(self._buckets):
            if bucket.number < first:
                break
            low, high = (round(bucket.low, 6), round(bucket.high, 6)) if bucket.low <= bucket.high else (None, None)
            start = round(bucket.number * self.slice_s, 3)
            rows.append([start, low, high, bucket.frames, bucket.defective, finite(bucket.threshold)])
        return rows[::-1]


@dataclass
class Find:
    """One picture for a run of frames: those of a defective part, or a second of what passed.

    Attributes:
        number: From 1, in the order of appearance.
        source: Name of the source.
        at_unix: When its worst frame was captured.
        score: Highest score of the run; one that is not finite is above all others.
        threshold: Threshold that frame was judged with.
        frame: Number of that frame.
        path: The file it comes from; empty when it comes from none.
        frames: How many frames the run has so far.
        bundle: Content hash of the bundle that judged it.
        label: What a person says it really was: ``"good"``, ``"defect"``, or None where nobody does.
        kind: Of a defect, what kind that person says it is; may be empty.
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
    bundle: str = ""
    label: str | None = None
    kind: str = ""
    version: int = 0
    seen_at: float = 0.0
    drawn_at: float = 0.0
    pictures: dict[str, bytes] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What the page shows beside its pictures."""
        names = ("number", "source", "at_unix", "score", "threshold", "frame", "path", "frames", "label", "kind")
        return {name: getattr(self, name) for name in (*names, "version")}


@dataclass(frozen=True)
class GalleryRule:
    """What a gallery keeps.

    Attributes:
        capacity: How many finds, with their pictures.
        longest_s: A run of frames that lasts longer is more than one find.
        redraw_s: A find gets another picture after this time at the earliest.
    """

    capacity: int = 48
    longest_s: float = 10.0
    redraw_s: float = 1.0


class Gallery:
    """A ring of finds; not thread-safe.

    Args:
        rule: What is kept.
        numbers: Gives each find its number; galleries may share them.
    """

    def __init__(self, rule: GalleryRule | None = None, numbers: Iterator[int] | None = None) -> None:
        self.changes = 0
        self._rule = rule or GalleryRule()
        self._numbers = numbers or itertools.count(1)
        self._finds: OrderedDict[int, Find] = OrderedDict()
        self._open: dict[int, Find] = {}  # source → the run it is in

    def add(self, result: Result, source: str) -> int | None:
        """Count a frame.

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
        is_due = find.label is None and frame.captured_at - find.drawn_at >= self._rule.redraw_s
        if is_due and _severity(score) > _severity(find.score):
            find.score, find.threshold, find.drawn_at = score, result.verdict.threshold, frame.captured_at
            find.at_unix, find.frame, find.path = frame.captured_unix, frame.index, frame.path
            find.bundle = result.bundle
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

    def find(self, number: int) -> Find | None:
        """A find; None when it is no longer kept."""
        return self._finds.get(number)

    def mark(self, number: int, label: str | None, kind: str = "") -> None:
        """Note what a find really was, if it is still there."""
        if (find := self._finds.get(number)) is not None:
            find.label, find.kind = label, kind
            self.changes += 1

    def rows(self) -> list[dict[str, Any]]:
        """The finds that have pictures, newest first."""
        return [find.to_dict() for find in reversed(self._finds.values()) if find.version]

    def _is_same(self, find: Find, at: float) -> bool:
        return at - find.seen_at <= _SAME_PART_S and at - find.started_at <= self._rule.longest_s

    def _start(self, result: Result, source: str) -> Find:
        frame, verdict = result.frame, result.verdict
        at, limit = frame.captured_unix, verdict.threshold
        find = Find(next(self._numbers), source, frame.captured_at, at, verdict.score, limit, frame.index, frame.path)
        find.seen_at, find.drawn_at, find.bundle = frame.captured_at, frame.captured_at, result.bundle
        self._open[frame.source_index] = self._finds[find.number] = find
        while len(self._finds) > self._rule.capacity:
            self._finds.popitem(last=False)
        return find


def _severity(score: float) -> float:
    """Sort key of scores: nothing is worse than one that is not finite."""
    return score if math.isfinite(score) else math.inf


class PartLog:
    """A ring of the parts that are over; not thread-safe."""

    def __init__(self) -> None:
        self.count = 0
        self._parts: deque[dict[str, Any]] = deque(maxlen=_KEPT_PARTS)

    def add(self, event: Event) -> None:
        """Keep an event of the kind ``"part"``; others are none."""
        if event.kind != "part":
            return
        self.count += 1
        names = ("part", "part_id", "verdict", "reason", "frames", "defective", "score", "threshold")
        facts = {name: event.data.get(name) for name in names}
        self._parts.append({"number": self.count, "at": event.at_unix, "source": event.source, **facts})

    def rows(self) -> list[dict[str, Any]]:
        """The parts, newest first."""
        return list(reversed(self._parts))


class EventLog:
    """A ring of events, and the alarms that are not cleared; not thread-safe."""

    def __init__(self) -> None:
        self.count = 0
        self._events: deque[tuple[int, Event]] = deque(maxlen=_KEPT_EVENTS)
        self._alarms: OrderedDict[tuple[str, str, str], Event] = OrderedDict()

    def add(self, event: Event) -> None:
        """Keep an event, and start or end the alarm that it is about."""
        if event.kind in _QUIET_KINDS:
            return
        self.count += 1
        self._events.append((self.count, event))
        if event.kind in _STARTS:
            self._alarms[(_STARTS[event.kind], event.source, _topic(event.data))] = event
            while len(self._alarms) > _MOST_ALARMS:
                self._alarms.popitem(last=False)
        elif event.kind in _ENDS:
            for topic in _ENDS[event.kind]:
                self._clear(topic, event)

    def rows(self) -> list[dict[str, Any]]:
        """The events, newest first."""
        return [{"number": number, **_row(event)} for number, event in reversed(self._events)]

    def alarms(self) -> list[dict[str, Any]]:
        """The alarms that are not cleared, oldest first."""
        return [_row(event) for event in self._alarms.values()]

    def _clear(self, topic: str, event: Event) -> None:
        """End the alarm with the same topic; one that names none ends all of that source."""
        about = _topic(event.data)
        for key in list(self._alarms):
            is_source = key[1] == event.source or not event.source
            if key[0] == topic and is_source and (not about or key[2] == about):
                del self._alarms[key]


def _topic(data: Mapping[str, Any]) -> str:
    return next((str(data[name]) for name in _TOPICS if name in data), "")


def _row(event: Event) -> dict[str, Any]:
    by = str(event.data.get("by", ""))
    return {"kind": event.kind, "at": event.at_unix, "source": event.source, "text": event.text, "by": by}
