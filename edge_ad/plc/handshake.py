"""Hands results to a PLC one at a time: the next one only after the acknowledgement of the one before."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge_ad.plc.results import PartResult
from edge_ad.streaming.sinks.hook import Alarm

__all__ = ["Handshake", "HandshakeState"]

_CAPACITY = 1000
_POLL_S = 0.02


@dataclass(frozen=True)
class HandshakeState:
    """What a PLC sees of the hand-over; all of the same moment.

    Attributes:
        result: The newest result that was put out; None before the first.
        is_valid: Whether it waits for its acknowledgement.
        waiting: Results that wait behind it.
        lost: Results that were never put out: more waited than there is room for, or the stream ended.
        unacknowledged: Results that were put out for the whole time-out, and not acknowledged.
    """

    result: PartResult | None
    is_valid: bool
    waiting: int
    lost: int
    unacknowledged: int


class Handshake:
    """A bounded queue of results with acknowledgement, by a bit or by number. Thread-safe; nothing waits.

    By a bit, in four phases: the result is valid, the PLC sets the bit, the result is no longer valid, the PLC clears
    the bit; then the next result is put out. By number: the PLC writes the sequence number of the result.

    When the queue is full, the oldest result that waits is dropped and counted.

    Args:
        name: What the PLC is connected by, for the alarm.
        timeout_s: How long a result waits for its acknowledgement before the next one is put out; None for ever.
        capacity: Most results that wait.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout_s: float | None = None,
        capacity: int = _CAPACITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.alarm = Alarm(name.lower())
        self._name, self._timeout_s, self._capacity, self._clock = name, timeout_s, capacity, clock
        self._lock = threading.RLock()
        self._waiting: deque[PartResult] = deque()
        self._result: PartResult | None = None
        self._is_valid = self._bit = False
        self._since = 0.0
        self._lost = self._unacknowledged = 0

    @property
    def dropped(self) -> int:
        """Results that no client can have seen."""
        return self._lost

    def put(self, result: PartResult) -> None:
        """Put a result out, or behind those that wait."""
        with self._lock:
            self._waiting.append(result)
            self._advance()
            if len(self._waiting) > self._capacity:
                self._waiting.popleft()
                self._lost += 1
                text = f"The {self._name} client does not acknowledge: {self._capacity} results wait, older are lost."
                self.alarm.raise_once(text)

    def acknowledge(self, is_set: bool) -> None:
        """Take the acknowledgement bit as the PLC has written it."""
        with self._lock:
            is_rising, self._bit = is_set and not self._bit, is_set
            if is_rising and self._is_valid:
                self._acknowledged()
            self._advance()

    def acknowledge_number(self, sequence: int) -> None:
        """Take the sequence number of the result that the PLC has read; any other number has no effect."""
        with self._lock:
            if self._is_valid and self._result is not None and self._result.sequence == sequence:
                self._acknowledged()
            self._advance()

    def state(self) -> HandshakeState:
        """What a client sees now."""
        with self._lock:
            self._advance()
            return HandshakeState(self._result, self._is_valid, len(self._waiting), self._lost, self._unacknowledged)

    def end(self, timeout_s: float, has_client: Callable[[], bool]) -> None:
        """Wait until all results are acknowledged, as long as there is a client; the rest is lost.

        Args:
            timeout_s: Longest wait, in seconds.
            has_client: Whether a client is connected.
        """
        until = self._clock() + timeout_s
        while self._is_busy() and has_client() and self._clock() < until:
            time.sleep(_POLL_S)
        with self._lock:
            self._lost += len(self._waiting)
            self._waiting.clear()
            if self._is_valid:
                self._is_valid = False
                self._unacknowledged += 1

    def _is_busy(self) -> bool:
        state = self.state()
        return state.is_valid or state.waiting > 0

    def _acknowledged(self) -> None:
        self._is_valid, self._since = False, self._clock()
        if not self._waiting:
            self.alarm.clear(f"The {self._name} client acknowledges again.", lost=self._lost)

    def _advance(self) -> None:
        """Withdraw a result whose time is over, and put out the next one."""
        is_late = self._timeout_s is not None and self._clock() - self._since >= self._timeout_s
        if self._is_valid and is_late:
            self._is_valid, self._since = False, self._clock()
            self._unacknowledged += 1
            self.alarm.raise_once(f"The {self._name} client did not acknowledge a result within {self._timeout_s:g} s.")
        if self._waiting and not self._is_valid and (is_late or not self._bit):
            self._result, self._is_valid, self._since = self._waiting.popleft(), True, self._clock()
