"""What viewers are sent live: the state several times a second, and pictures."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

from edge_ad.server.pictures import Picture, PictureThread
from edge_ad.server.state import PageState
from edge_ad.strict_json import to_json

__all__ = ["BOUNDARY", "Busy", "Feed"]

BOUNDARY = "edge-ad-frame"
_LOG = logging.getLogger(__name__)
_TICK_S = 0.2
_QUIET_S = 5.0  # only sending shows that a client is gone
_ASK_S = 1.0  # how often a waiting client asks again for pictures
_MOST_WAITING = 48


class Busy(Exception):  # noqa: N818 - an answer, not a fault
    """The limit of viewers is reached."""


class Feed:
    """Serves all viewers from one copy; used in the server's loop.

    Nothing is queued: a slow viewer gets the newest once it is ready for it.

    Args:
        state: What there is to show.
        pictures: Draws what is watched.
        most_viewers: How many may watch at a time.
    """

    def __init__(self, state: PageState, pictures: PictureThread, most_viewers: int) -> None:
        self.viewers = 0
        self._state, self._pictures, self._most_viewers = state, pictures, most_viewers
        self._waiting = self._listening = 0
        self._is_closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._message, self._number = b"", 0
        self._stated, self._pictured, self._arrived = _Signal(), _Signal(), _Signal()

    async def run(self) -> None:
        """Make a message of the state at regular times, while somebody receives it; end all streams when cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._make_messages()
        finally:
            self._is_closing = True
            for signal in (self._stated, self._pictured, self._arrived):
                signal.send()

    async def _make_messages(self) -> None:
        while True:
            if self._listening == 0:
                await self._arrived.wait(_QUIET_S)
                continue
            try:
                self._message = b"data: " + to_json(self._state.state()).encode() + b"\n\n"
            except Exception:
                _LOG.exception("The live page could not tell the state")
            self._number += 1
            self._stated.send()
            await asyncio.sleep(_TICK_S)

    def tell_picture(self) -> None:
        """Announce a new picture; may be called from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._pictured.send)

    async def states(self) -> AsyncIterator[bytes]:
        """The state as server-sent events, until the stream ends."""
        seen = self._number
        while not self._is_closing:
            if self._number != seen:
                seen = self._number
                yield self._message
            elif not await self._stated.wait(_QUIET_S):
                yield b": still here\n\n"

    async def motion(self, index: int, *, is_plain: bool) -> AsyncIterator[bytes]:
        """The pictures of a source as the parts of an MJPEG stream."""
        serial = -1
        while not self._is_closing:
            picture = await self._next_picture(index, is_plain, serial, _QUIET_S)
            if picture is not None:
                serial = picture.serial
                yield _part(picture.jpeg)

    async def picture(self, index: int, *, is_plain: bool, after: int, longest_s: float) -> Picture | None:
        """The newest picture of a source, as soon as it differs from the one the client has.

        Args:
            index: Of the source.
            is_plain: Without heat map and contour.
            after: Serial number of the one the client has.
            longest_s: Longest wait, in seconds.

        Returns:
            The picture; None when none came in that time.

        Raises:
            Busy: Too many clients wait for one.
        """
        if self._waiting >= _MOST_WAITING:
            raise Busy
        self._waiting += 1
        try:
            return await self._next_picture(index, is_plain, after, longest_s)
        finally:
            self._waiting -= 1

    @contextmanager
    def viewer(self, *, gets_states: bool) -> Iterator[None]:
        """Count a viewer.

        Args:
            gets_states: Whether it is sent the state, and not pictures only.

        Raises:
            Busy: The limit is reached.
        """
        if self.viewers >= self._most_viewers:
            raise Busy
        self._count(1)
        self._listening += gets_states
        self._arrived.send()
        try:
            yield
        finally:
            self._count(-1)
            self._listening -= gets_states

    async def _next_picture(self, index: int, is_plain: bool, after: int, longest_s: float) -> Picture | None:
        until = time.monotonic() + longest_s
        while not self._is_closing:
            picture = self._pictures.newest(index, is_plain=is_plain, after=after)
            if picture is not None and picture.serial != after:
                return picture
            if (left_s := until - time.monotonic()) <= 0:
                return None
            await self._pictured.wait(min(left_s, _ASK_S))
        return None

    def _count(self, change: int) -> None:
        self.viewers += change
        self._pictures.viewers = max(1, self.viewers)


class _Signal:
    """Wakes all who wait; it keeps no state."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def send(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Whether a signal came in that time."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except asyncio.TimeoutError:
            return False
        return True


def _part(jpeg: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\ncontent-type: image/jpeg\r\ncontent-length: {len(jpeg)}\r\n\r\n"
    return head.encode("ascii") + jpeg + b"\r\n"
