"""Gives the golden check the verdicts of a stream, on frames or on parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.golden.check import GoldenCheck
from edge_ad.streaming.golden.state import Judged
from edge_ad.streaming.records.schema import verdict_name
from edge_ad.streaming.verdicts.observers import CountingObserver, EndingObserver, Observer

__all__ = ["GoldenObserver"]


class GoldenObserver:
    """Has the other observers see each result, and the golden check what it or they say of a part.

    Args:
        others: The other observers.
        golden: The golden check.
        has_parts: Whether a part has several frames: then its verdict is the one on the part.
    """

    def __init__(self, others: Sequence[Observer], golden: GoldenCheck, *, has_parts: bool) -> None:
        self._others, self._golden, self._has_parts = others, golden, has_parts

    def see(self, result: Result) -> Sequence[Event]:
        """Take the next result and give the events that follow from it."""
        if not self._has_parts:
            self._golden.judged(_of_result(result))
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
                self._golden.judged(_of_part(event.at_unix, event.data))
        return events


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
