"""The Trigger contract, and the triggers that need no connection to a peer."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, UsageError
from edge_ad.streaming.frame import Frame

__all__ = ["DIFFERENCE", "REFRACTORY_S", "AskedTrigger", "EveryFrame", "EveryNth", "MotionTrigger", "Trigger"]

DIFFERENCE = 12.0  # grey levels: several times the noise of a sensor, averaged over the line
REFRACTORY_S = 0.5  # the front of a part fires, the rest of it does not
_MOST_POINTS = 256
_Point = tuple[int, int]


class Trigger(ABC):
    """Chooses frames. A context manager: entering starts listening.

    One trigger serves all sources of a stream and tells them apart by ``source_index``. Each source calls it from its
    own thread, with its frames in order.

    Attributes:
        gives_ids: Whether somebody asks for each part by it, and can say which: a verdict is due then.
        lost: Requests given up because another one still waited for its frame.
        lost_id: Id of the newest of them.
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
            DeviceError: Its port or broker is not available.
        """

    def cancel(self) -> None:  # noqa: B027
        """Called from another thread: an `open` that waits for its peer gives up."""

    def close(self) -> None:  # noqa: B027
        """Stop listening; may be called when it is not open."""

    @abstractmethod
    def fires(self, frame: Frame) -> bool:
        """Whether this frame is to be judged."""

    def part_of(self, frame: Frame) -> str:
        """Id of the part on the frame it has just fired for; empty for none."""
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
    """Judges the next frame of each source after a request.

    Requests with the same id before that frame count as one; another id is refused until a frame has come.

    Attributes:
        last_id: Id of the newest accepted request, such as the number of the part.
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
            identity: Id of the part; empty for none.
            is_repeated: Whether this may be a redelivered request: with the newest id it has no effect.

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
        """Note that no further request can come; otherwise all frames would silently pass unjudged."""
        self._failure = error

    def fires(self, frame: Frame) -> bool:
        """Whether it is the first of its source since the request.

        Raises:
            DeviceError: It can no longer receive requests.
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
        """Id of the request that its newest frame answered."""
        with self._lock:
            return self._parts.get(frame.source_index, "")


@dataclass
class _Line:
    """What a source showed on the line."""

    before: NDArray[np.int16] | None = None
    fired_at: float = field(default=float("-inf"))


class MotionTrigger(Trigger):
    """Fires when the pixels on a line change from one frame to the next.

    Args:
        start: x and y of one end, in pixels of the frame (of the region, when there is one).
        end: x and y of the other end.
        difference: Mean absolute change along the line that is motion, in grey levels of 255.
        refractory_s: Seconds of silence after it has fired.
    """

    def __init__(
        self, start: _Point, end: _Point, *, difference: float = DIFFERENCE, refractory_s: float = REFRACTORY_S
    ) -> None:
        self._start, self._end = start, end
        self._difference, self._refractory_s = difference, refractory_s
        points = min(_MOST_POINTS, 1 + max(abs(start[0] - end[0]), abs(start[1] - end[1])))
        self._columns = np.linspace(start[0], end[0], points).round().astype(np.intp)
        self._rows = np.linspace(start[1], end[1], points).round().astype(np.intp)
        self._lines: dict[int, _Line] = {}

    def fires(self, frame: Frame) -> bool:
        """Whether something entered or left the line since the frame before.

        Raises:
            UsageError: The line reaches beyond the frame.
        """
        now = self._on_line(frame.image)
        line = self._lines.setdefault(frame.source_index, _Line())
        before, line.before = line.before, now
        if before is None or frame.captured_at - line.fired_at < self._refractory_s:
            return False
        if float(np.abs(now - before).mean()) < self._difference:
            return False
        line.fired_at = frame.captured_at
        return True

    def _on_line(self, image: NDArray[np.uint8]) -> NDArray[np.int16]:
        height, width = image.shape[:2]
        if self._rows.max() >= height or self._columns.max() >= width:
            raise UsageError(
                f"The trigger's line {self._start} to {self._end} reaches beyond the frame.",
                f"The frame has {width}×{height} pixels, counted from 0.",
            )
        return image[self._rows, self._columns].astype(np.int16)
