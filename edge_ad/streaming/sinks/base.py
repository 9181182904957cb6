"""The Sink contract."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import StorageError, UsageError
from edge_ad.streaming.frame import Event, Result, Unjudged
from edge_ad.streaming.sources.base import Source

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["DeliveryKind", "Outbox", "Sink", "check_output"]

_CUT_S = 0.5

_Message = TypeVar("_Message")
DeliveryKind: TypeAlias = Literal["inline", "lossy", "lossless"]


class Outbox(Generic[_Message]):
    """Passes messages to ``send`` one at a time, in order; when the queue is full, the oldest one is dropped.

    Args:
        name: Of the thread.
        send: Delivers a message, however long it takes. Its argument is a function that waits for some seconds and
            returns whether to continue; False means that the stream is over, and no further try is made.
        on_error: Told when ``send`` raises: that message is dropped, the next one is sent.
        capacity: Most messages that wait.

    Attributes:
        dropped: Messages never sent: the queue was full, time was up at the end, or ``send`` failed.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[_Message, Callable[[float], bool]], None],
        on_error: Callable[[Exception], None],
        *,
        capacity: int,
    ) -> None:
        self.dropped = 0
        self._send, self._on_error, self._capacity = send, on_error, capacity
        self._waiting: deque[_Message] = deque()
        self._changed = threading.Condition()
        self._close_by: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, message: _Message) -> None:
        """Add a message; never waits."""
        with self._changed:
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(message)
            self._changed.notify_all()

    def close(self, timeout_s: float, cut_short: Callable[[], None] = lambda: None) -> None:
        """Send what waits, for a limited time; the rest is dropped.

        Args:
            timeout_s: Longest time, in seconds.
            cut_short: Called when the time is over and ``send`` has not returned; makes it return.
        """
        with self._changed:
            self._close_by = time.monotonic() + timeout_s
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            cut_short()
            self._thread.join(_CUT_S)

    def _run(self) -> None:
        while (message := self._next()) is not None:
            try:
                self._send(message, self._wait)
            except Exception as error:  # a message that fails must not stop the later ones
                with self._changed:
                    self.dropped += 1
                self._on_error(error)

    def _next(self) -> _Message | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._close_by is not None)
            if self._is_over():
                self.dropped += len(self._waiting)
                self._waiting.clear()
            return self._waiting.popleft() if self._waiting else None

    def _wait(self, seconds: float) -> bool:
        """Wait, but not beyond the end."""
        until = time.monotonic() + seconds
        with self._changed:
            while (left := until - time.monotonic()) > 0:
                if self._close_by is not None:
                    left = min(left, self._close_by - time.monotonic())
                    if left <= 0:
                        return False
                self._changed.wait(left)
            return not self._is_over()

    def _is_over(self) -> bool:
        return self._close_by is not None and time.monotonic() >= self._close_by


class Sink(ABC):
    """Takes the results of one stream. A context manager: leaving it completes what was written.

    Attributes:
        needs_picture: Whether it wants the frame with the overlay drawn on it.
        wants_end: Whether the user ended the stream through it.
        delivery: How it is called. ``"inline"``: in the thread that runs the stream. ``"lossy"``: in its own thread;
            what does not fit into its bounded queue is dropped and counted. ``"lossless"``: in its own thread; a full
            queue makes the stream wait.
        waits_for_files: Of a lossy sink: whether a stream of files, in which every frame counts, waits for it.
        dropped: Records that the sink itself gave up, besides those that did not fit into its queue.
        rows: Of a sink that records every judged frame: how many it has really stored, final once it is closed; the
            stream ends with an error when they are not as many as it judged. None for any other sink.
        trail_head: Of a sink that writes a trail: its head, ``NUMBER:HASH``, once it is closed; else empty.
    """

    needs_picture: ClassVar[bool] = False
    wants_end: bool = False
    waits_for_files: ClassVar[bool] = False
    dropped: int = 0
    rows: int | None = None
    trail_head: str = ""
    delivery: DeliveryKind = "lossless"

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StorageError:
            if error is None:  # the first error is the one that the user must see
                raise

    def attach(self, control: StreamControl) -> None:  # noqa: B027 - not every sink steers the stream
        """Called once, before `begin`, with the handle on the stream."""

    def begin(self, source: Source) -> None:  # noqa: B027 - not every sink asks about the source
        """Called once, with the open source, before the first result."""

    @abstractmethod
    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Take one result.

        Args:
            result: The judged frame.
            picture: The frame with its overlay, uint8 (H, W, 3) BGR, for sinks that need it.

        Raises:
            StorageError: It cannot be written.
        """

    def unjudged(self, unjudged: Unjudged) -> None:  # noqa: B027 - not every sink keeps them
        """Take a frame that was looked at but not judged."""

    def event(self, event: Event) -> None:  # noqa: B027 - not every sink keeps them
        """Take an event, in its order among the results."""

    @abstractmethod
    def close(self) -> None:
        """Complete what was written; may be called when nothing was."""


def check_output(path: Path, *, overwrite: bool) -> None:
    """Check that an output file can be made, before anything is started.

    Raises:
        UsageError: It exists and may not be overwritten, or its folder does not exist.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a file.", "Give the name of a file in it.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for {path.name}.", f"Make it: mkdir -p {path.parent}")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists.", "Choose another name, or add --overwrite.")
