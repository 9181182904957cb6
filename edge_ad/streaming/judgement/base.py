"""The Judge contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from edge_ad.streaming.events import Event
from edge_ad.streaming.frame import Result

__all__ = ["EndingJudge", "Judge"]


class Judge(Protocol):
    """Sees every result in the order of the frames and says what follows from several of them."""

    def see(self, result: Result) -> Sequence[Event]:
        """Take the next result and give the events that follow from it."""


@runtime_checkable
class EndingJudge(Judge, Protocol):
    """A judge with something left to say when the stream is over."""

    def end(self) -> Sequence[Event]:
        """The events that only the end of the stream decides."""
