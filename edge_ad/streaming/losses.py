"""Tells of parts that nobody inspected: frames that could not be decoded, requests of a trigger that were given up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.events import Event
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.triggers import Trigger

__all__ = ["LossWatch"]

_INTERVAL_S = 1.0  # a source that gives nothing else must not fill the records
_MOST_SHOWN = 3


class LossWatch:
    """Compares the counts of sources and trigger with what was told before, and tells at most one event a second each.

    Args:
        sources: The sources.
        trigger: What chooses the frames; None for nothing.
        control: Takes the events.
    """

    def __init__(self, sources: Sequence[Source], trigger: Trigger | None, control: StreamControl) -> None:
        self._sources, self._trigger, self._control = sources, trigger, control
        self._told: dict[object, tuple[int, float]] = {}  # → count, and when

    def look(self, *, is_last: bool = False) -> None:
        """Tell what is new; cheap enough for every frame.

        Args:
            is_last: Whether to tell it now, however little time has passed.
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
