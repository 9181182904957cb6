"""A live stream over HTTP: MJPEG, read here frame by frame; anything else, read by FFmpeg."""

from __future__ import annotations

import http.client
import re
import time

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError, DeviceError
from edge_ad.images import decode_image
from edge_ad.streaming.deadline import Deadline
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.sources.http_client import connect
from edge_ad.streaming.sources.multipart import MultipartReader, Part
from edge_ad.streaming.sources.network import NetworkSource

__all__ = ["LONGEST_REPEAT_S", "HttpSource", "decoded"]

# A camera's repeats fill the time to its next frame. One that shows the same for longer hangs, which must be seen.
LONGEST_REPEAT_S = 1.0
_MOST_CORRUPT_IN_ROW = 100  # a camera that sends nothing else is as good as gone
# Between the header of a JPEG and its end: a marker that cannot be there is damage that decoders paint over in grey.
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
        """What the stream says of its frame rate; MJPEG says nothing."""
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
    # Whole seconds, or a clock that stands still, say nothing; a fraction does: no camera takes two pictures at once.
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
