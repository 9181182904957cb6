"""When pulses are given: by time, or by the counts of an encoder. No hardware, no clock of its own."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Callable

from edge_ad.plc.gpio_options import GpioOptions

__all__ = ["PulseSchedule"]

_MOST_WAITING = 1000
_KEPT_EDGES = 100_000
_ALIVE_S = 0.25  # half a period of the line that says that somebody is alive
_SILENCE_S = 1.0  # without a word from the stream: it hangs


class PulseSchedule:
    """Decides what the lines show. All times are of one monotonic clock, in seconds.

    ``ok`` and ``ng`` get a pulse for each part. ``ready`` is active while the stream says so at least once a second.
    ``alive`` changes four times a second as long as that holds, so that a receiver sees a machine that stands still.

    A pulse that cannot begin within its own length of its moment is not given: the part is elsewhere by then.

    Args:
        options: Lines and delays.
        set_line: Sets a line to active or inactive, by the name of the output.
        tell: Told, in words, what went wrong, and how many pulses no receiver can count because of it.
    """

    def __init__(
        self, options: GpioOptions, set_line: Callable[[str, bool], None], tell: Callable[[str, int], None]
    ) -> None:
        self._options, self._set_line, self._tell = options, set_line, tell
        self._due: list[tuple[float, str]] = []  # moments, or counts
        self._active: dict[str, float] = {}
        self._edges: deque[float] = deque(maxlen=_KEPT_EDGES)
        self._count = 0
        self._is_ready = self._is_alive = False
        self._heard_at = self._toggle_at = float("-inf")

    @property
    def is_busy(self) -> bool:
        """Whether a pulse is under way or waits."""
        return bool(self._due or self._active)

    def say_ready(self, is_ready: bool, now: float) -> None:
        """Take the word of the stream whether the line may rely on it."""
        self._heard_at = now
        self._show_ready(is_ready)

    def ask(self, output: str, captured_at: float, now: float) -> None:
        """Plan a pulse.

        Args:
            output: ``"ok"`` or ``"ng"``; one that has no line is passed over.
            captured_at: When the part was in front of the camera.
            now: The time.
        """
        if output not in self._options.outputs:
            return
        if len(self._due) >= _MOST_WAITING:
            self._tell(f"{_MOST_WAITING} pulses wait; one was not given.", 1)
            return
        if (counts := self._options.delay_counts) is not None:
            heapq.heappush(self._due, (self._count_at(captured_at) + counts, output))
        else:
            delay_s = self._options.delay_s
            heapq.heappush(self._due, (now if delay_s is None else captured_at + delay_s, output))
        self.run(now)

    def edge(self, at: float, now: float) -> None:
        """Count an edge of the encoder, and begin the pulses that are due with it.

        Args:
            at: When it was, as the kernel noted.
            now: The time; many edges may have come since.
        """
        self._edges.append(at)
        self._count += 1
        if self._due and self._due[0][0] <= self._count:
            self._end_pulses(now)
            self._begin_due(now, now - at)

    def run(self, now: float) -> float | None:
        """Do what is due.

        Returns:
            When to be called again at the latest; None where only an edge or a word of the stream changes anything.
        """
        self._end_pulses(now)
        self._begin_due(now, 0.0)
        self._watch(now)
        return min(self._next_moments(), default=None)

    def make_safe(self) -> None:
        """All lines inactive; what waits is forgotten."""
        self._due.clear()
        self._active.clear()
        self._is_ready = self._is_alive = False
        for output in self._options.outputs:
            self._set_line(output, False)

    def _end_pulses(self, now: float) -> None:
        for output in [name for name, until in self._active.items() if until <= now]:
            del self._active[output]
            self._set_line(output, False)

    def _begin_due(self, now: float, since_edge_s: float) -> None:
        """Begin what is due, at a count that was reached some seconds ago."""
        while self._due and self._due[0][0] <= self._position(now):
            due, output = heapq.heappop(self._due)
            late = self._lateness(due, now, since_edge_s)
            if late:
                text = f"A pulse on {output} was not given: the verdict came {late} too late. Make the delay longer."
                self._tell(text, 1)
            else:
                self._begin(output, now)

    def _lateness(self, due: float, now: float, since_edge_s: float) -> str:
        """By how much a pulse comes too late; empty where it does not."""
        late = self._position(now) - due
        if self._options.delay_counts is not None and late > 1:
            return f"{late:.0f} pulses of the encoder"
        late_s = since_edge_s if self._options.delay_counts is not None else late
        return f"{1e3 * late_s:.0f} ms" if late_s > self._options.pulse_s else ""

    def _begin(self, output: str, now: float) -> None:
        if output in self._active:
            self._tell(f"Two pulses on {output} ran into each other. Make them shorter.", 1)
        else:
            self._set_line(output, True)
        self._active[output] = now + self._options.pulse_s

    def _position(self, now: float) -> float:
        return now if self._options.delay_counts is None else float(self._count)

    def _count_at(self, at: float) -> int:
        """The count of the encoder at an earlier moment."""
        return self._count - (len(self._edges) - bisect_right(self._edges, at))

    def _watch(self, now: float) -> None:
        """Not ready where the stream is silent; else alive."""
        if self._is_ready and now - self._heard_at > _SILENCE_S:
            self._tell("The stream says nothing any more: not ready.", 0)
            self._show_ready(False)
        if self._is_ready and now >= self._toggle_at:
            self._is_alive, self._toggle_at = not self._is_alive, now + _ALIVE_S
            self._show("alive", self._is_alive)

    def _next_moments(self) -> list[float]:
        moments = list(self._active.values())
        moments += [self._due[0][0]] if self._due and self._options.delay_counts is None else []
        return moments + ([self._toggle_at, self._heard_at + _SILENCE_S] if self._is_ready else [])

    def _show_ready(self, is_ready: bool) -> None:
        if is_ready == self._is_ready:
            return
        self._is_ready = is_ready
        self._show("ready", is_ready)
        if not is_ready and self._is_alive:
            self._is_alive = False
            self._show("alive", False)

    def _show(self, output: str, is_active: bool) -> None:
        if output in self._options.outputs:
            self._set_line(output, is_active)
