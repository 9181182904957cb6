"""What happened lately, and which alarms stand."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any

from edge_ad.streaming.events import Event

__all__ = ["EventLog"]

_KEPT = 200
_MOST_ALARMS = 20
_QUIET_KINDS = frozenset({"part", "ng", "ng over"})  # one for every part would push out what somebody must read
# Which event ends the alarm that another one starts.
_STARTS = {"source lost": "source", "alarm": "alarm", "drift": "drift"}
_ENDS = {"source returned": "source", "alarm cleared": "alarm", "drift over": "drift", "bundle swapped": "drift"}
_TOPICS = ("alarm", "name", "sink", "topic")


class EventLog:
    """A ring of events and the alarms that were not cleared; not thread-safe."""

    def __init__(self) -> None:
        self.count = 0
        self._events: deque[tuple[int, Event]] = deque(maxlen=_KEPT)
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
            self._clear(_ENDS[event.kind], event)

    def rows(self) -> list[dict[str, Any]]:
        """The events, newest first."""
        return [{"number": number, **_row(event)} for number, event in reversed(self._events)]

    def alarms(self) -> list[dict[str, Any]]:
        """The alarms that stand, oldest first."""
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
