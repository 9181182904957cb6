"""Gives the golden check the verdicts of a stream, on frames or on parts."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from edge_ad.streaming.frame import Event, Frame, Result
from edge_ad.streaming.golden.check import GoldenCheck
from edge_ad.streaming.golden.state import FrameSpan, Judged
from edge_ad.streaming.records.schema import verdict_name
from edge_ad.streaming.verdicts.observers import CountingObserver, EndingObserver, Observer

__all__ = ["GoldenObserver"]

_MOST_OPEN = 64  # parts with an id that are not over; beyond that the oldest is forgotten


class GoldenObserver:
    """Has the other observers see each result, and the golden check what it or they say of a part.

    Args:
        others: The other observers.
        golden: The golden check.
        has_parts: Whether a part has several frames: then its verdict is the one on the part.
    """

    def __init__(self, others: Sequence[Observer], golden: GoldenCheck, *, has_parts: bool) -> None:
        self._others, self._golden, self._has_parts = others, golden, has_parts
        self._spans: OrderedDict[str, list[FrameSpan]] = OrderedDict()  # by id of the part
        self._newest: dict[str, str] = {}  # source → id of the part that its newest frame shows

    def see(self, result: Result) -> Sequence[Event]:
        """Take the next result and give the events that follow from it."""
        if self._has_parts:
            self._note(result.frame)
        else:
            self._golden.judged(_of_result(result), [_span(result.frame)])
        return self._told([event for observer in self._others for event in observer.see(result)])

    def counts(self, reason: str) -> bool:
        """Whether a frame counts for one of the others that is not judged for this reason."""
        return any(isinstance(one, CountingObserver) and one.counts(reason) for one in self._others)

    def end(self) -> Sequence[Event]:
        """The events that only the end of the stream decides."""
        return self._told([event for one in self._others if isinstance(one, EndingObserver) for event in one.end()])

    def _told(self, events: list[Event]) -> list[Event]:
        for event in events:
            if self._has_parts and event.kind == "part":
                self._golden.judged(_of_part(event.at_unix, event.data), self._frames(event))
        return events

    def _note(self, frame: Frame) -> None:
        """Note when each source took a part with an id, without the parts between: its event has no single source."""
        follows = self._newest.get(frame.source) == frame.part
        self._newest[frame.source] = frame.part
        if not frame.part:
            return
        spans = self._spans.setdefault(frame.part, [])
        before = next((span for span in reversed(spans) if span.source == frame.source), None) if follows else None
        if before is not None:
            spans.remove(before)
        spans.append(_span(frame, before))
        if len(self._spans) > _MOST_OPEN:
            self._spans.popitem(last=False)

    def _frames(self, event: Event) -> list[FrameSpan]:
        """The frames of a part that is over; none where they are not known: others are no master parts."""
        spans = self._spans.pop(str(event.data["part_id"]), [])
        started_unix = float(event.data["started_unix"])
        is_alone = not spans and started_unix == event.at_unix  # a frame without an id, of whichever source
        return [FrameSpan(event.source, started_unix, event.at_unix)] if event.source or is_alone else spans


def _span(frame: Frame, before: FrameSpan | None = None) -> FrameSpan:
    at_unix = frame.captured_unix
    return FrameSpan(frame.source, at_unix if before is None else before.since_unix, at_unix)


def _of_result(result: Result) -> Judged:
    frame, verdict = result.frame, result.verdict
    return Judged(
        frame.part,
        "",
        verdict_name(verdict.is_anomalous),
        verdict.score if math.isfinite(verdict.score) else None,
        verdict.threshold,
        result.bundle,
        frame.captured_unix,
        verdict.reason,
        result.recipe.hash,
    )


def _of_part(at_unix: float, data: Any) -> Judged:
    return Judged(
        str(data["part_id"]),
        "",
        str(data["verdict"]),
        data["score"],
        data["threshold"],
        str(data["bundle"]),
        at_unix,
        str(data["reason"]),
        str(data["recipe_hash"]),
    )
