"""Whether the line may rely on the stream: what a PLC is told about faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING

from edge_ad.plc.results import BETWEEN_PARTS
from edge_ad.streaming.frame import Event, Unjudged
from edge_ad.streaming.golden.state import GOLDEN_CHECK, GoldenState

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl
    from edge_ad.streaming.progress import Progress

__all__ = ["Fault", "LineCondition"]

_LOOK_EVERY_S = 0.2
_LEAST_STALL_S = 2.0
_STALL_LATENCIES = 5.0  # of the 99th percentile: a slow engine is not a stalled one
# A camera that the PLC triggers gives no frame while the PLC waits for the fault to end.
_PROBLEM_S = 2.0
_NEUTRAL = BETWEEN_PARTS | {"paused", GOLDEN_CHECK}


class Fault(IntEnum):
    """Why no verdict can be relied on; the first of these that holds, in this order of weight."""

    NONE = 0
    STARTING = 1
    """The stream does not run yet."""
    STOPPING = 2
    """The stream ends, or has ended."""
    ENGINE_STALLED = 3
    """The engine gives no results for the frames it has, or the stream does not move on."""
    SOURCE_LOST = 4
    """A camera is gone."""
    PAUSED = 5
    """Somebody paused the stream."""
    NOT_JUDGED = 6
    """Frames come that cannot be judged: black, over-exposed, frozen, of another size or shape."""
    GOLDEN_CHECK = 7
    """A golden check failed or was not done in time, and stops the line."""


class LineCondition:
    """Follows a stream by its frames, its events and its progress. Thread-safe.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._control: StreamControl | None = None
        self._is_stopping = False
        self._lost: set[str] = set()
        self._alarms: set[str] = set()
        self._problem, self._problem_at = "", float("-inf")
        self._looked_at = float("-inf")
        self._fault = Fault.STARTING

    @property
    def problem(self) -> str:
        """Why the newest frames are not judged; empty where they are, or where none has come for two seconds."""
        is_new = self._clock() - self._problem_at < _PROBLEM_S
        return self._problem if is_new else ""

    @property
    def has_alarm(self) -> bool:
        """Whether an alarm of the stream is raised: an output fails, or a score is not finite."""
        return bool(self._alarms)

    @property
    def golden(self) -> GoldenState:
        """What is known of the line by its master parts."""
        return GoldenState.NONE if self._control is None else self._control.golden.state

    def takes(self, part: str) -> bool:
        """Whether a request for a part may be taken: there is no fault, or it is for a master part that ends one."""
        fault, control = self.fault(), self._control
        is_master = control is not None and control.golden.lets_pass(part)
        return fault is Fault.NONE or (fault is Fault.GOLDEN_CHECK and is_master)

    def attach(self, control: StreamControl) -> None:
        """Follow this stream from now on."""
        with self._lock:
            self._control, self._is_stopping = control, False

    def judged(self) -> None:
        """A frame was judged."""
        self._problem = ""

    def unjudged(self, unjudged: Unjudged) -> None:
        """A frame was not judged."""
        if unjudged.reason == "not triggered":  # it could have been
            self._problem = ""
        elif unjudged.reason not in _NEUTRAL:
            self._problem, self._problem_at = unjudged.reason, self._clock()

    def event(self, event: Event) -> None:
        """An event of the stream."""
        match event.kind:
            case "source lost":
                self._lost.add(event.source)
            case "source returned":
                self._lost.discard(event.source)
            case "alarm":
                self._alarms.add(str(event.data.get("alarm", "")))
            case "alarm cleared":
                self._alarms.discard(str(event.data.get("alarm", "")))
        self._looked_at = float("-inf")

    def stop(self) -> None:
        """The stream ends."""
        self._is_stopping = True
        self._looked_at = float("-inf")

    def fault(self) -> Fault:
        """What is wrong now; cheap enough for every request of a client."""
        now = self._clock()
        with self._lock:
            if now - self._looked_at >= _LOOK_EVERY_S:
                self._looked_at, self._fault = now, self._look()
            fault = self._fault
        return Fault.NOT_JUDGED if fault is Fault.NONE and self.problem else fault

    def _look(self) -> Fault:
        control = self._control
        progress = None if control is None else control.progress()
        if self._is_stopping or (control is not None and control.is_stopped):
            return Fault.STOPPING
        if control is None or progress is None or progress.seconds <= 0:
            return Fault.STARTING
        if progress.is_ending:
            return Fault.STOPPING
        if _is_stalled(progress):
            return Fault.ENGINE_STALLED
        if self._lost:
            return Fault.SOURCE_LOST
        if control.is_paused:
            return Fault.PAUSED
        return Fault.GOLDEN_CHECK if control.golden.is_blocking else Fault.NONE


def _is_stalled(progress: Progress) -> bool:
    usual_s = progress.latency_p99_ms / 1e3
    return progress.stalled_s > max(_LEAST_STALL_S, _STALL_LATENCIES * usual_s)
