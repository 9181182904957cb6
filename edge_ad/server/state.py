"""What the page shows, kept up to date by the stream and read by the server."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

from edge_ad.server.history import EventLog, Find, Gallery, GalleryRule, PartLog, Trend
from edge_ad.server.originals import Originals
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event, Frame, Result, Unjudged
from edge_ad.streaming.records.corrections import CorrectionStore
from edge_ad.streaming.records.schema import record_of
from edge_ad.strict_json import plain

__all__ = ["SPANS", "PageState"]

SPANS = {"5m": (0.5, 600), "24h": (60.0, 1440)}  # name → length of a slice in seconds, slices
_HOLD_S = 1.0  # at 60 frames per second a single NG would pass unseen
_NEWEST_S = 5.0  # of the trend, in every message: a page that misses some messages loses nothing
_MOST_SOURCES = 64
_MOST_RECORDS = 10_000
_PASSES = GalleryRule(capacity=120, longest_s=1.0, redraw_s=0.0)


@dataclass
class _SourceState:
    """One source."""

    name: str
    trends: dict[str, Trend] = field(default_factory=lambda: {name: Trend(*span) for name, span in SPANS.items()})
    newest: Result | Unjudged | None = None
    shown: Result | None = None  # the newest verdict, or an NG that is held
    held_until: float = -math.inf
    serial: int = 0
    shown_serial: int = 0

    def show(self, result: Result, now: float) -> None:
        """Take a verdict. An NG is shown for at least a second from its first frame."""
        was_defective = self.shown is not None and self.shown.verdict.is_anomalous
        is_defective = result.verdict.is_anomalous
        if was_defective and not is_defective and now < self.held_until:
            return
        if is_defective and not was_defective:
            self.held_until = now + _HOLD_S
        self.shown, self.shown_serial = result, self.serial


class PageState:
    """The state of the page; every method may be called from any thread.

    Args:
        control: The handle on the stream.
        name: Name of the source of a stream that does not name it in its frames.
        has_database: Whether the stream's records can be exported.
        has_login: Whether viewers log in, and can log out.
        corrections: Where corrected frames go; None keeps neither passed frames nor originals.
    """

    def __init__(
        self,
        control: StreamControl,
        name: str,
        *,
        has_database: bool = False,
        has_login: bool = False,
        corrections: CorrectionStore | None = None,
    ) -> None:
        self.control, self.name, self.has_login = control, name, has_login
        self._has_database = has_database
        self._lock = threading.Lock()
        self._sources: dict[int, _SourceState] = {}
        self._records: deque[dict[str, Any]] = deque(maxlen=_MOST_RECORDS)
        numbers = itertools.count(1)
        self._gallery, self._passes = Gallery(numbers=numbers), Gallery(_PASSES, numbers)
        self._corrections = corrections
        self._originals = None if corrections is None else Originals()
        self._events, self._parts = EventLog(), PartLog()
        self._run = time.time()  # another run counts from the start: the page must forget the old numbers

    def add(self, result: Result) -> int | None:
        """Take a judged frame.

        Returns:
            Number of the find whose pictures it should be drawn for, or None.
        """
        frame, verdict = result.frame, result.verdict
        with self._lock:
            if (source := self._source(frame.source_index, frame.source)) is None:
                return None
            source.newest = result
            source.serial += 1
            source.show(result, time.perf_counter())
            for trend in source.trends.values():
                trend.add(frame.captured_at, verdict.score, verdict.threshold, is_defective=verdict.is_anomalous)
            self._records.append(record_of(result, source.name, with_regions=False))
            if not verdict.is_anomalous and self._originals is None:
                return None
            number = (self._gallery if verdict.is_anomalous else self._passes).add(result, source.name)
            if number is not None and self._originals is not None:
                self._originals.keep(number, frame)
            return number

    def add_unjudged(self, unjudged: Unjudged) -> None:
        """Take a frame that was not judged; one that was not triggered leaves the shown verdict as it is."""
        if unjudged.reason == "not triggered":
            return
        with self._lock:
            if (source := self._source(unjudged.frame.source_index, unjudged.frame.source)) is not None:
                source.newest = unjudged
                source.serial += 1

    def add_event(self, event: Event) -> None:
        """Take an event."""
        with self._lock:
            self._events.add(event)
            self._parts.add(event)

    def picture(self, index: int) -> tuple[Result | Unjudged, int] | None:
        """The frame of a source to show, the one that belongs to the verdict, and its serial number."""
        with self._lock:
            source = self._sources.get(index)
            if source is None or source.newest is None:
                return None
            if isinstance(source.newest, Unjudged) or source.shown is None:
                return source.newest, source.serial
            return source.shown, source.shown_serial

    def show_find(self, number: int, pictures: dict[str, bytes]) -> None:
        """Keep the pictures of a find."""
        with self._lock:
            for gallery in (self._gallery, self._passes):
                gallery.show(number, pictures)

    def find_picture(self, number: int, kind: str) -> bytes | None:
        """A picture of a find: ``"thumbnail"``, ``"overlay"`` or ``"plain"``; None when there is none."""
        with self._lock:
            return self._gallery.picture(number, kind) or self._passes.picture(number, kind)

    def finds(self) -> list[dict[str, Any]]:
        """The finds, newest first."""
        with self._lock:
            return list(plain(self._gallery.rows()))

    def passes(self) -> list[dict[str, Any]]:
        """Passed frames, newest first: of each second the one with the highest score."""
        with self._lock:
            return list(plain(self._passes.rows()))

    def original(self, number: int) -> tuple[Find, bool, Frame] | None:
        """A copy of a find, whether it was called defective, and its frame; None when that is no longer kept."""
        with self._lock:
            frame = None if self._originals is None else self._originals.get(number)
            defective = self._gallery.find(number)
            find = defective or self._passes.find(number)
            if frame is None or find is None or frame.index != find.frame:
                return None
            return replace(find), defective is not None, frame

    def mark(self, number: int, label: str | None, kind: str = "") -> None:
        """Note what a find really was."""
        with self._lock:
            for gallery in (self._gallery, self._passes):
                gallery.mark(number, label, kind)

    def parts(self) -> list[dict[str, Any]]:
        """The parts that are over, newest first."""
        with self._lock:
            return list(plain(self._parts.rows()))

    def events(self) -> list[dict[str, Any]]:
        """The events, newest first."""
        with self._lock:
            return self._events.rows()

    def records(self, count: int) -> list[dict[str, Any]]:
        """The newest records, oldest first."""
        with self._lock:
            return list(islice(reversed(self._records), count))[::-1]

    def trend(self, index: int, span: str) -> list[list[float | None]]:
        """The rows of a source's trend, by wall-clock time; empty when there is no such source."""
        with self._lock:
            source = self._sources.get(index)
            return [] if source is None else _trend_rows(source.trends[span])

    def state(self) -> dict[str, Any]:
        """What changes from frame to frame, as plain data for JSON; None for a number that is not finite."""
        control, now = self.control, time.perf_counter()
        progress = asdict(control.progress())
        with self._lock:
            state = {
                "run": self._run,
                "now": time.time(),
                "paused": control.is_paused,
                "threshold": control.threshold,
                "bundle": dict(control.bundle),
                "recipe": control.recipe.name,
                "recipes": control.has_recipes,
                "golden": control.golden.facts(),
                "progress": progress,
                "sources": [_source_state(index, source, now) for index, source in sorted(self._sources.items())],
                "alarms": self._events.alarms(),
                "events": self._events.count,
                "finds": self._gallery.changes,
                "passes": self._passes.changes,
                "parts": self._parts.count,
                "corrections": None if self._corrections is None else self._corrections.counts,
                "kinds": [] if self._corrections is None else self._corrections.kinds,
                "records": len(self._records),
                "database": self._has_database,
                "login": self.has_login,
            }
        return dict(plain(state))

    def _source(self, index: int, name: str) -> _SourceState | None:
        source = self._sources.get(index)
        if source is None and len(self._sources) < _MOST_SOURCES:
            source = self._sources[index] = _SourceState(name or self.name)
        return source


def _source_state(index: int, source: _SourceState, now: float) -> dict[str, Any]:
    state: dict[str, Any] = {"index": index, "name": source.name, "serial": source.serial, "reason": ""}
    if source.newest is not None:
        state["seen_s"] = round(now - source.newest.frame.captured_at, 2)
    if isinstance(source.newest, Unjudged):
        state["reason"] = source.newest.reason
    elif source.newest is not None:
        state["latency_ms"] = round(source.newest.prepare_ms + source.newest.infer_ms, 2)
        state["age_ms"] = round(source.newest.age_ms, 2)
    if source.shown is not None:
        verdict = source.shown.verdict
        state |= {
            "defective": verdict.is_anomalous,
            "why": verdict.reason,
            "score": verdict.score,
            "threshold": verdict.threshold,
            "normalised": verdict.normalised,
            "frame": source.shown.frame.index,
            "path": source.shown.frame.path,
        }
    state["trend"] = _trend_rows(source.trends["5m"], _NEWEST_S)
    return state


def _trend_rows(trend: Trend, newest_s: float | None = None) -> list[list[float | None]]:
    """Rows by wall-clock time; slices are kept by monotonic time."""
    now = time.perf_counter()
    offset = time.time() - now
    return [[round((row[0] or 0.0) + offset, 1), *row[1:]] for row in trend.rows(now, newest_s)]
