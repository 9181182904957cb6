"""A camera that gives one picture for each request."""

from __future__ import annotations

import threading
import time
from http.client import HTTPException

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError
from edge_ad.image_formats import damage
from edge_ad.streaming.deadline import Deadline
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.sources.http_client import connect
from edge_ad.streaming.sources.http_stream import LONGEST_REPEAT_S, decoded
from edge_ad.streaming.sources.multipart import LARGEST_PART, Part
from edge_ad.streaming.sources.pacing import Pacer

__all__ = ["SnapshotSource"]

_MOST_CORRUPT_IN_ROW = 100  # a camera that sends nothing else is as good as gone


class SnapshotSource(Source):
    """A network camera that is asked for each picture, live.

    A damaged picture is skipped and counted in ``corrupt``; one that is the same as the one before, for up to a second,
    in ``duplicates``.

    Args:
        url: ``http://`` or ``https://`` address of the picture, with user and password in it where they are needed.
        fps: Requests per second.
        timeout_s: Longest time in seconds for a request and its answer; then the camera counts as lost.
    """

    def __init__(self, url: str, *, fps: float = 5.0, timeout_s: float = 2.0) -> None:
        super().__init__(f"snapshot+{url}", is_live=True)
        self._url, self._fps, self._timeout_s = url, fps, timeout_s
        self._deadline, self._cancelled = Deadline(), threading.Event()
        self._pacer = Pacer(1 / fps)
        self._first: Part | None = None  # asked for at opening
        self._last: bytes = b""
        self._new_at = 0.0

    @property
    def fps(self) -> float | None:
        """Requests per second."""
        return self._fps

    def open(self) -> None:
        """Ask for the first picture."""
        self._first = self._ask()

    def read(self) -> NDArray[np.uint8] | None:
        """The next picture that is whole and new; None when the camera does not answer."""
        for _ in range(_MOST_CORRUPT_IN_ROW):
            self._pacer.wait(self._cancelled)
            part, self._first = self._first, None
            try:
                part = part or self._ask()
            except DeviceError:
                return None
            if self._is_repeat(part):
                self.duplicates += 1
            elif (image := decoded(part)) is not None:
                return image
            else:
                self.corrupt += 1
        return None

    def close(self) -> None:
        """Nothing is held open between two pictures."""
        self._first, self._last = None, b""

    def cancel(self) -> None:
        """End a request at once; none follows."""
        self._cancelled.set()
        self._deadline.cancel()

    def _ask(self) -> Part:
        self._deadline.start(self._timeout_s)
        with connect(self._url, self.name, self._deadline) as answer:
            try:
                body = answer.read(LARGEST_PART)
            except (OSError, HTTPException, ValueError):
                body = b""
        return Part({}, body, is_whole=damage(body) is None)

    def _is_repeat(self, part: Part) -> bool:
        is_same, now = part.is_whole and part.body == self._last, time.monotonic()
        self._last = part.body
        if not is_same:
            self._new_at = now
        return is_same and now - self._new_at <= LONGEST_REPEAT_S
