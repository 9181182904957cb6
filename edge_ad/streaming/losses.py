"""Losses of a stream: missing frame numbers, damaged frames, lost requests, and outages of sources."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event
from edge_ad.streaming.triggers import Trigger

if TYPE_CHECKING:
    from edge_ad.streaming.sources.base import Source

__all__ = ["Gap", "GapLog", "LossWatch", "OutageWatch"]

_INTERVAL_S = 1.0  # so that a source that gives nothing else does not fill the records
_MOST_SHOWN = 3
_KEPT = 100  # a stream runs for months: the newest gaps are listed, all are counted


class LossWatch:
    """Reports new losses of sources and trigger, at most one event a second for each.

    Args:
        sources: The sources.
        trigger: Chooses the frames; None for no trigger.
        control: Takes the events.
    """

    def __init__(self, sources: Sequence[Source], trigger: Trigger | None, control: StreamControl) -> None:
        self._sources, self._trigger, self._control = sources, trigger, control
        self._told: dict[object, tuple[int, float]] = {}  # → count, and when

    def look(self, *, is_last: bool = False) -> None:
        """Report what is new; cheap enough for every frame.

        Args:
            is_last: Whether to report it now, however little time has passed.
        """
        for source in self._sources:
            if new := self._new(source, source.corrupt, is_last=is_last):
                names = [source.corrupt_names.popleft() for _ in range(len(source.corrupt_names))]
                shown = f" ({', '.join(names[:_MOST_SHOWN])}{', …' if len(names) > _MOST_SHOWN else ''})" * bool(names)
                text = f"Damaged pictures that were not judged: {new}{shown}."
                self._tell("corrupt", text, {"frames": new, "names": names}, source.name)
            if is_last and source.shortage:
                self._tell("cut off", f"The file {source.shortage}.", {}, source.name)
        trigger = self._trigger
        if trigger is not None and (new := self._new(trigger, trigger.lost, is_last=is_last)):
            text = f"Requests given up while another id waited for its frame: {new}, the newest {trigger.lost_id!r}."
            self._tell("request lost", text, {"requests": new, "part_id": trigger.lost_id})

    def _new(self, what: object, count: int, *, is_last: bool) -> int:
        told, at = self._told.get(what, (0, float("-inf")))
        now = time.monotonic()
        if count == told or (now - at < _INTERVAL_S and not is_last):
            return 0
        self._told[what] = (count, now)
        return count - told

    def _tell(self, kind: str, text: str, data: dict[str, Any], source: str = "") -> None:
        self._control.emit(Event(kind, time.time(), source, text, data))


@dataclass(frozen=True)
class Gap:
    """One outage.

    Attributes:
        start: When the last frame before it came, ISO 8601 UTC.
        seconds: From that frame to the first one after it, or to the end of the stream.
    """

    start: str
    seconds: float


class GapLog:
    """Counts all outages and lists the newest hundred.

    Attributes:
        count: Outages so far.
        total_seconds: Their length together.
        longest_seconds: The longest.
        reconnects: How many ended with the source's return.
        is_lost: Whether the source is gone now.
        newest: The newest of them, oldest first.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_seconds = 0.0
        self.longest_seconds = 0.0
        self.reconnects = 0
        self.is_lost = False
        self.newest: deque[Gap] = deque(maxlen=_KEPT)

    def begin(self) -> None:
        """Note that the source is gone; `add` records the outage when it is over."""
        self.is_lost = True

    def add(self, start_unix: float, seconds: float, *, reconnected: bool) -> None:
        """Record an outage.

        Args:
            start_unix: Wall-clock time of the last frame before it, in seconds since the epoch.
            seconds: Its length.
            reconnected: Whether the source came back.
        """
        start = datetime.fromtimestamp(start_unix, timezone.utc).isoformat(timespec="milliseconds")
        self.newest.append(Gap(start, round(seconds, 3)))
        self.count += 1
        self.total_seconds += seconds
        self.longest_seconds = max(self.longest_seconds, seconds)
        self.reconnects += reconnected
        self.is_lost = False


class OutageWatch:
    """Reports when sources are lost and return.

    Args:
        sources: The sources.
        control: Takes the events.
    """

    def __init__(self, sources: Sequence[Source], control: StreamControl) -> None:
        self._sources, self._control = sources, control
        self._was_lost = [False] * len(sources)
        self._reconnects = [source.gaps.reconnects for source in sources]

    def look(self) -> None:
        """Report what is new, a loss before its return; cheap enough for every frame."""
        for index, source in enumerate(self._sources):
            gaps = source.gaps
            returns, self._reconnects[index] = gaps.reconnects - self._reconnects[index], gaps.reconnects
            for gap in list(gaps.newest)[-returns:] if returns else ():
                self._lose(index, source)
                self._was_lost[index] = False
                text = f"{source.name} is back after {gap.seconds:g} s."
                self._tell("source returned", source, text, {"seconds": gap.seconds})
            if gaps.is_lost:
                self._lose(index, source)

    def _lose(self, index: int, source: Source) -> None:
        if not self._was_lost[index]:
            self._was_lost[index] = True
            self._tell("source lost", source, f"{source.name} is gone.", {})

    def _tell(self, kind: str, source: Source, text: str, data: dict[str, float]) -> None:
        self._control.emit(Event(kind, time.time(), source.name, text, data))
