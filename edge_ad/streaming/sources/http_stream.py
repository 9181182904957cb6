"""Cameras behind HTTP: motion JPEG, and snapshots at a rate."""

from __future__ import annotations

import http.client
import re
import threading
import time
from http.client import HTTPException

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError, DeviceError
from edge_ad.image_formats.completeness import damage
from edge_ad.images import decode_image
from edge_ad.streaming.deadline import Deadline
from edge_ad.streaming.sources.base import Pacer, Source
from edge_ad.streaming.sources.ffmpeg_sources import NetworkSource
from edge_ad.streaming.sources.http_client import LARGEST_PART, MultipartReader, Part, connect

__all__ = ["LONGEST_REPEAT_S", "HttpSource", "SnapshotSource", "decoded"]

# Repeats fill the time to a camera's next frame. A camera that repeats for longer hangs, which must be reported.
LONGEST_REPEAT_S = 1.0
_MOST_CORRUPT_IN_ROW = 100  # a camera that sends nothing else counts as lost
# A marker that cannot occur inside a JPEG is damage, which decoders would paint grey.
_FOREIGN_MARKER = re.compile(rb"\xff[\x01-\xbf\xc0-\xc3\xc5-\xcf\xd8\xe0-\xef\xf0-\xfd]")
_JPEG_START, _FIRST_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


class HttpSource(Source):
    """A camera or server on the network, live.

    Of MJPEG, a damaged frame is skipped and counted in ``corrupt``, and one that the camera sends again (the same
    bytes, or the same ``X-Timestamp``) is skipped and counted in ``duplicates``.

    Args:
        url: ``http://`` or ``https://``, with user and password in it where they are needed (basic or digest).
        timeout_s: Longest time in seconds from the look-up of its name to its first part, with redirects and
            password, and from one part or good frame to the next, however slowly they come; then it counts as lost.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        super().__init__(url, is_live=True)
        self._deadline = Deadline()
        self._url, self._timeout_s = url, timeout_s
        self._answer: http.client.HTTPResponse | None = None
        self._parts: MultipartReader | None = None
        self._ffmpeg: NetworkSource | None = None
        self._last: Part | None = None
        self._new_at = 0.0

    @property
    def fps(self) -> float | None:
        """Frame rate according to the stream; MJPEG gives none."""
        return None if self._ffmpeg is None else self._ffmpeg.fps

    def open(self) -> None:
        """Connect."""
        self.close()
        self._deadline.start(self._timeout_s)
        answer = connect(self._url, self.name, self._deadline)
        if answer.headers.get_content_maintype() == "multipart":
            boundary = answer.headers.get_param("boundary")
            named = boundary if isinstance(boundary, str) else ""
            self._answer = answer
            self._parts = MultipartReader(answer, named, timeout_s=self._timeout_s, deadline=self._deadline)
            return
        answer.close()
        if answer.headers.get_content_maintype() == "image":
            raise DeviceError(
                f"{self.name} gives one picture for each request, and no stream.", "Write snapshot+ before its address."
            )
        self._ffmpeg = ffmpeg = NetworkSource(self._url, timeout_s=self._timeout_s)
        ffmpeg.rename(self.name)
        if self._deadline.is_cancelled:  # just before there was anything else to cancel
            ffmpeg.cancel()
        ffmpeg.open()

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame that is whole and new; None when the stream is gone."""
        if self._ffmpeg is not None:
            return self._ffmpeg.read()
        corrupt_in_row, lost_at = 0, time.monotonic() + self._timeout_s
        while corrupt_in_row < _MOST_CORRUPT_IN_ROW and (part := self._next_part()) is not None:
            if self._is_repeat(part):
                self.duplicates += 1
            elif (image := decoded(part)) is not None:
                return image
            else:
                self.corrupt += 1
                corrupt_in_row += 1
            if time.monotonic() > lost_at:
                return None
        return None

    def cancel(self) -> None:
        """End the connection at once; it is not opened again."""
        self._deadline.cancel()
        if (ffmpeg := self._ffmpeg) is not None:
            ffmpeg.cancel()

    def close(self) -> None:
        """Disconnect."""
        if self._answer is not None:
            self._answer.close()
        if self._ffmpeg is not None:
            self._ffmpeg.close()
        self._answer = self._parts = self._ffmpeg = self._last = None

    def _next_part(self) -> Part | None:
        return None if self._parts is None else self._parts.next_part()

    def _is_repeat(self, part: Part) -> bool:
        last, self._last, now = self._last, part, time.monotonic()
        is_same = last is not None and _is_same(last, part)
        if not is_same:
            self._new_at = now
        return is_same and now - self._new_at <= LONGEST_REPEAT_S


def _is_same(before: Part, part: Part) -> bool:
    stamp = part.headers.get("x-timestamp")
    # Whole seconds prove nothing, nor does a stopped clock; a fraction does: no camera takes two pictures at once.
    if stamp is not None and stamp == before.headers.get("x-timestamp") and _has_fraction(stamp):
        return True
    return part.is_whole and part.body == before.body


def _has_fraction(stamp: str) -> bool:
    whole, point, fraction = stamp.strip().partition(".")
    return bool(point) and whole.isdigit() and fraction.isdigit() and int(fraction) > 0


def decoded(part: Part) -> NDArray[np.uint8] | None:
    """The picture of a part, uint8 (H, W, 3) BGR; None where it is damaged."""
    if not part.is_whole or _has_foreign_marker(part.body):
        return None
    try:
        return decode_image(part.body, "a part of the stream")
    except DataError:
        return None


def _has_foreign_marker(body: bytes) -> bool:
    if not body.startswith(_JPEG_START):
        return False
    start = body.find(_FIRST_SCAN) + len(_FIRST_SCAN)
    return _FOREIGN_MARKER.search(body, start, body.find(_JPEG_END, start)) is not None


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
        """Forget the last picture; no connection is held open."""
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
