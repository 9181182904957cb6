"""What happens to a soaked stream between its frames, one thing after the other, and who sees what came of it."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.soak_bundles import BRIGHT_EVERY, line_frame
from edge_ad.errors import DeviceError
from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.sinks import Sink
from edge_ad.streaming.sources import Source

__all__ = ["Step", "SteppedSource", "Steps", "Watcher"]

_LONGEST_WAIT_S = 300.0  # for the answer to one step, on a busy machine


@dataclass(frozen=True)
class Step:
    """One thing that happens.

    Attributes:
        due: Number of the frame, from 1, before which it happens.
        what: What it is, for messages.
        begin: Has it happen; returns at once.
        is_answer: Whether an event of the stream tells that it is over.
        expected: Kind of the event that it should be.
    """

    due: int
    what: str
    begin: Callable[[], None]
    is_answer: Callable[[Event], bool]
    expected: str


class Steps:
    """Begins each step when its frame is due and the step before it was answered; frames wait for no other reason.

    Args:
        steps: In the order of their frames.

    Attributes:
        surprises: What came of a step where it should have been something else, one line each.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self.surprises: list[str] = []
        self._waiting = deque(steps)
        self._open: Step | None = None
        self._changed = threading.Condition()

    def before(self, frame: int) -> None:
        """Begin what is due before a frame; called by the thread that captures.

        Raises:
            DeviceError: The step before was never answered.
        """
        while self._waiting and self._waiting[0].due <= frame:
            self.finish()
            step = self._waiting.popleft()
            with self._changed:
                self._open = step
            step.begin()

    def finish(self) -> None:
        """Wait until the last step that was begun is answered.

        Raises:
            DeviceError: It never was.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._open is None, _LONGEST_WAIT_S):
                assert self._open is not None
                raise DeviceError(f"Nothing came of it within {_LONGEST_WAIT_S:g} s: {self._open.what}.")

    def see(self, event: Event) -> None:
        """Look at an event of the stream."""
        with self._changed:
            if self._open is not None and self._open.is_answer(event):
                if event.kind != self._open.expected:
                    self.surprises.append(f"{self._open.what}: {event.kind}: {event.text}")
                self._open = None
                self._changed.notify_all()


class SteppedSource(Source):
    """The frames of a line as fast as they are read, with steps between them; then it waits to be told to end.

    Args:
        frames: How many it gives.
        steps: What happens between them.
        at_end: Called after the last frame and the last answer; has the stream ended.
    """

    def __init__(self, frames: int, steps: Steps, at_end: Callable[[], None]) -> None:
        super().__init__("line 1", is_live=False)
        self._frames, self._steps, self._at_end = frames, steps, at_end
        self._count = 0
        self._cancelled = threading.Event()

    def open(self) -> None:
        """Nothing is to be opened."""

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame; None after the last, when the stream ends."""
        if self._count == self._frames:
            self._steps.finish()
            self._at_end()
            self._cancelled.wait(_LONGEST_WAIT_S)
            return None
        self._count += 1
        self._steps.before(self._count)
        return line_frame(self._count)

    def cancel(self) -> None:
        """End the wait after the last frame."""
        self._cancelled.set()

    def close(self) -> None:
        """Nothing is open."""


class Watcher(Sink):
    """Counts what the stream says, and the verdicts that are not those of the frames.

    Args:
        steps: Are told of every event.

    Attributes:
        events: Kind → how many.
        misjudged: Frames whose verdict is wrong.
    """

    delivery = "lossless"

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.events: Counter[str] = Counter()
        self.misjudged = 0

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Compare the verdict with what the frame is."""
        is_defective = (result.frame.index + 1) % BRIGHT_EVERY == 0
        self.misjudged += result.verdict.is_anomalous != is_defective

    def event(self, event: Event) -> None:
        """Count an event and tell the steps."""
        self.events[event.kind] += 1
        self._steps.see(event)

    def close(self) -> None:
        """Nothing is open."""
