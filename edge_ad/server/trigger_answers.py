"""Verdicts for those who asked for a frame and wait for what it shows."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.outside_text import storable
from edge_ad.streaming.frame import Frame, Result
from edge_ad.streaming.records.schema import record_of
from edge_ad.streaming.sinks.base import Sink

__all__ = ["TriggerAnswers"]


@dataclass
class _Waiting:
    identity: str
    asked_at: float
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[list[dict[str, Any]]]
    records: dict[int, dict[str, Any]] = field(default_factory=dict)  # source → what it showed


class TriggerAnswers(Sink):
    """A sink that gives the verdicts of the frames which answer a request.

    Args:
        sources: How many sources the stream has: each gives a frame for a request.
    """

    delivery = "inline"

    def __init__(self, sources: int) -> None:
        self._sources = sources
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()

    @contextmanager
    def waiting(self, identity: str) -> Iterator[asyncio.Future[list[dict[str, Any]]]]:
        """The records of a request that is made inside the block, one of each source; used in an event loop.

        Args:
            identity: Id of the part.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(storable(identity), time.perf_counter(), loop, loop.create_future())
        with self._lock:
            self._waiting.append(waiting)
        try:
            yield waiting.answer
        finally:
            with self._lock:
                self._waiting.remove(waiting)

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Give a verdict to those who wait for it."""
        if self._waiting:
            self._give(result.frame, record_of(result))

    def close(self) -> None:
        """Does nothing: who still waits is told so by the clock."""

    def _give(self, frame: Frame, record: dict[str, Any]) -> None:
        with self._lock:
            for waiting in self._waiting:
                if frame.part == waiting.identity and frame.captured_at >= waiting.asked_at:
                    waiting.records.setdefault(frame.source_index, record)
                    if len(waiting.records) == self._sources:
                        records = [waiting.records[index] for index in sorted(waiting.records)]
                        waiting.loop.call_soon_threadsafe(_set, waiting.answer, records)


def _set(answer: asyncio.Future[list[dict[str, Any]]], records: list[dict[str, Any]]) -> None:
    if not answer.done():  # it may have been given up
        answer.set_result(records)
