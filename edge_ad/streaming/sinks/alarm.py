"""Something that can go wrong and be well again: told once when it starts and once when it is over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from edge_ad.streaming.events import Event

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["Alarm"]


class Alarm:
    """Raises ``"alarm"`` at the first of many failures and ``"alarm cleared"`` when it works again.

    May be used from any thread. Before it is attached to a stream it keeps its state and tells nobody.

    Args:
        name: What it is about, such as ``"records"``; in every event's data.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._text = ""
        self._control: StreamControl | None = None
        self._lock = threading.Lock()

    @property
    def is_raised(self) -> bool:
        """Whether it is wrong now."""
        return bool(self._text)

    def attach(self, control: StreamControl) -> None:
        """Tell this stream from now on."""
        self._control = control

    def raise_once(self, text: str) -> None:
        """Say what is wrong, unless that was said already.

        Args:
            text: One sentence.
        """
        with self._lock:
            if self._text:
                return
            self._text = text
        self._tell("alarm", text, {"alarm": self.name})

    def clear(self, text: str, **data: object) -> None:
        """Say that it is well again, if it was wrong.

        Args:
            text: One sentence.
            data: More for programs.
        """
        with self._lock:
            if not self._text:
                return
            self._text = ""
        self._tell("alarm cleared", text, {"alarm": self.name, **data})

    def _tell(self, kind: str, text: str, data: dict[str, object]) -> None:
        if self._control is not None:
            self._control.emit(Event(kind, time.time(), text=text, data=data))
