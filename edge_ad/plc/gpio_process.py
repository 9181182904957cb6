"""The process that holds the GPIO lines: it gives pulses on time, and makes them safe when the stream dies.

It reads one JSON object per line from stdin: ``{"ready": true}``, ``{"pulse": "ng", "at": SECONDS}`` by the monotonic
clock, or ``{"end": true}``, after which it gives what waits. At the end of stdin without that, all lines are made
inactive at once. It writes ``{"open": true, "is_prompt": ...}``, ``{"alarm": TEXT, "lost": PULSES}`` or ``{"error":
TEXT}`` to stdout.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any, Protocol

from edge_ad.plc.gpio_options import GpioOptions, Line
from edge_ad.plc.gpio_pulses import PulseSchedule

__all__ = ["GpioLines", "Lines", "main", "serve", "take_priority"]

_LONGEST_WAIT_S = 1.0
_PRIORITY = 50  # of the real-time scheduler, where that is allowed


class Lines(Protocol):
    """Lines of a chip."""

    def set(self, output: str, is_active: bool) -> None:
        """Make an output active or inactive."""

    def edges(self) -> list[float]:
        """Moments of the encoder's edges since the last call, in seconds of the monotonic clock; never waits."""

    def fileno(self) -> int:
        """What is readable when there are edges; -1 without an encoder."""

    def close(self) -> None:
        """Give the lines back."""


class GpioLines:
    """Lines of a chip of this machine, by libgpiod 2.

    Args:
        options: Chip and lines; all outputs are inactive from the start.

    Raises:
        OSError: No such chip or line, or it is in use.
        ImportError: libgpiod is not installed.
    """

    def __init__(self, options: GpioOptions) -> None:
        import gpiod
        from gpiod.line import Direction, Edge, Value

        self._names = {output: line.name for output, line in options.outputs.items()}
        self._values = {False: Value.INACTIVE, True: Value.ACTIVE}
        settings = {
            line.name: gpiod.LineSettings(
                direction=Direction.OUTPUT, active_low=line.is_inverted, output_value=Value.INACTIVE
            )
            for line in options.outputs.values()
        }
        self._outputs = gpiod.request_lines(options.chip, consumer="edge-ad", config=settings)
        self._encoder, self._edges_seen = None, 0
        if options.encoder is not None:
            edge = gpiod.LineSettings(
                direction=Direction.INPUT, edge_detection=Edge.RISING, active_low=options.encoder.is_inverted
            )
            self._encoder = _request_encoder(gpiod, options.chip, options.encoder, edge)

    def set(self, output: str, is_active: bool) -> None:
        """Make an output active or inactive."""
        self._outputs.set_value(self._names[output], self._values[is_active])

    def edges(self) -> list[float]:
        """Moments of the encoder's edges, as the kernel noted them."""
        if self._encoder is None or not self._encoder.wait_edge_events(0):
            return []
        found: list[float] = []
        for event in self._encoder.read_edge_events():
            # The kernel numbers them from 1, and drops those that it has no room for: they count all the same.
            found += [event.timestamp_ns / 1e9] * max(1, event.line_seqno - self._edges_seen)
            self._edges_seen = event.line_seqno
        return found

    def fileno(self) -> int:
        """Of the encoder; -1 without one."""
        return -1 if self._encoder is None else int(self._encoder.fd)

    def close(self) -> None:
        """Give the lines back to the kernel."""
        self._outputs.release()
        if self._encoder is not None:
            self._encoder.release()


def _request_encoder(gpiod: Any, chip: str, encoder: Line, settings: Any) -> Any:
    return gpiod.request_lines(chip, consumer="edge-ad", config={encoder.name: settings}, event_buffer_size=1024)


def main() -> None:
    """Hold the lines that the first argument names, as JSON, until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the stream, which then ends this
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    is_prompt = take_priority()
    try:
        options = GpioOptions.from_dict(json.loads(sys.argv[1]))
        lines = GpioLines(options)
    except Exception as error:  # the stream says it to the user
        _write({"error": " ".join(str(error).split()) or type(error).__name__})
        return
    _write({"open": True, "is_prompt": is_prompt})
    serve(options, lines)


def take_priority() -> bool:
    """Be woken before other programs, where the system allows that; whether it does."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except (AttributeError, OSError):
        return False
    return True


def serve(options: GpioOptions, lines: Lines, stdin: int = 0) -> None:
    """Do what stdin says until its end; then all lines are inactive.

    Args:
        options: Lines and delays.
        lines: The lines.
        stdin: Descriptor to read from.
    """
    schedule = PulseSchedule(options, lines.set, lambda text, lost: _write({"alarm": text, "lost": lost}))
    try:
        _serve(schedule, lines, stdin)
    finally:
        schedule.make_safe()
        lines.close()


def _serve(schedule: PulseSchedule, lines: Lines, stdin: int) -> None:
    waiting, rest, is_over = [stdin] + ([lines.fileno()] if lines.fileno() >= 0 else []), b"", False
    while not is_over or schedule.is_busy:
        moment = schedule.run(time.monotonic())
        left = _LONGEST_WAIT_S if moment is None else min(max(0.0, moment - time.monotonic()), _LONGEST_WAIT_S)
        readable, _, _ = select.select(waiting, [], [], left)
        for at in lines.edges():
            schedule.edge(at, time.monotonic())
        if stdin in readable:
            content = os.read(stdin, 65536)
            if not content:
                return  # the stream is gone
            *words, rest = (rest + content).split(b"\n")
            for word in words:
                is_over = _obey(schedule, word) or is_over


def _obey(schedule: PulseSchedule, word: bytes) -> bool:
    """Do what a line says; whether it is the last one."""
    asked, now = json.loads(word), time.monotonic()
    if "ready" in asked:
        schedule.say_ready(bool(asked["ready"]), now)
    if "pulse" in asked:
        schedule.ask(str(asked["pulse"]), float(asked["at"]), now)
    return bool(asked.get("end"))


def _write(answer: dict[str, object]) -> None:
    with suppress(OSError):  # the stream is gone
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
