"""The Trigger contract, and the triggers that need nothing but the frame's place in line."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from types import TracebackType
from typing import ClassVar

from edge_ad.errors import DeviceError
from edge_ad.streaming.frame import Frame

__all__ = ["AskedTrigger", "EveryFrame", "EveryNth", "Trigger"]


class Trigger(ABC):
    """Chooses frames. A context manager; entering starts what it listens to.

    One trigger serves all sources of a stream, each by its ``source_index``: from a thread per source, the frames of
    one source in their order.

    Attributes:
        gives_ids: Whether it can say which part a frame shows.
        lost: Requests that were given up because another one still waited for its frame.
        lost_id: What was said with the newest of them.
    """

    gives_ids: ClassVar[bool] = False
    lost: int = 0
    lost_id: str = ""

    def __enter__(self) -> Trigger:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:  # noqa: B027 - most triggers listen to nothing
        """Start listening.

        Raises:
            DeviceError: Its port or broker is not to be had.
        """

    def cancel(self) -> None:  # noqa: B027
        """Called from another thread: an `open` that waits for its peer gives up."""

    def close(self) -> None:  # noqa: B027
        """Stop listening; may be called when it is not open."""

    @abstractmethod
    def fires(self, frame: Frame) -> bool:
        """Whether this frame is to be judged."""

    def part_of(self, frame: Frame) -> str:
        """What it calls the part that a frame it has just fired for shows; empty for nothing."""
        return ""


class EveryFrame(Trigger):
    """Judges all frames."""

    def fires(self, frame: Frame) -> bool:
        """Always."""
        return True


class EveryNth(Trigger):
    """Judges the first frame of each source and every n-th after it.

    Args:
        n: 1 judges every frame.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._seen: defaultdict[int, int] = defaultdict(int)

    def fires(self, frame: Frame) -> bool:
        """Whether n − 1 frames of its source have passed since the last."""
        number = self._seen[frame.source_index]
        self._seen[frame.source_index] += 1
        return number % self._n == 0


class AskedTrigger(Trigger):
    """Judges the next frame of each source after somebody asked for it.

    Asked again with the same id before that frame, it is one request; another id is refused until a frame came.

    Attributes:
        last_id: What was said with the newest request that was taken, such as the number of the part.
    """

    gives_ids = True

    def __init__(self) -> None:
        self.last_id = ""
        self._is_waiting = False
        self._asked_at = float("-inf")
        self._answered: dict[int, float] = {}
        self._parts: dict[int, str] = {}
        self._lock = threading.Lock()
        self._failure: Exception | None = None

    def ask(self, identity: str = "", *, is_repeated: bool = False) -> bool:
        """Have the next frame judged: one that a source delivers from now on, not one already waiting.

        Args:
            identity: What the part is called; empty for nothing.
            is_repeated: Whether this may be a request that was delivered before: with the newest id it asks for
                nothing more.

        Returns:
            Whether it was taken; False while another id waits for its frame, which keeps its place.
        """
        with self._lock:
            if is_repeated and identity and identity == self.last_id:
                return True
            if self._is_waiting and identity != self.last_id:
                self.lost, self.lost_id = self.lost + 1, identity
                return False
            self.last_id, self._asked_at, self._is_waiting = identity, time.perf_counter(), True
            return True

    def fail(self, error: Exception) -> None:
        """Note that nobody can ask any more: without this, all frames would pass unjudged."""
        self._failure = error

    def fires(self, frame: Frame) -> bool:
        """Whether it is the first of its source since it was asked for.

        Raises:
            DeviceError: It no longer hears who asks.
        """
        if self._failure is not None:
            raise DeviceError(f"The trigger no longer works: {self._failure}.", "Check who asks, and start again.")
        with self._lock:
            asked_at = self._asked_at
            if frame.captured_at < asked_at or self._answered.get(frame.source_index, float("-inf")) >= asked_at:
                return False
            self._is_waiting = False
            self._answered[frame.source_index] = asked_at
            self._parts[frame.source_index] = self.last_id
            return True

    def part_of(self, frame: Frame) -> str:
        """What was said with the request that its newest frame answered."""
        with self._lock:
            return self._parts.get(frame.source_index, "")
