"""Tells of live sources that were lost and came back."""

from __future__ import annotations

import time
from collections.abc import Sequence

from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.events import Event
from edge_ad.streaming.sources.base import Source

__all__ = ["OutageWatch"]


class OutageWatch:
    """Compares the gaps of the sources with what was told before.

    Args:
        sources: The sources.
        control: Takes the events.
    """

    def __init__(self, sources: Sequence[Source], control: StreamControl) -> None:
        self._sources, self._control = sources, control
        self._was_lost = [False] * len(sources)
        self._reconnects = [source.gaps.reconnects for source in sources]

    def look(self) -> None:
        """Tell what is new, a loss before its return; cheap enough for every frame."""
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
