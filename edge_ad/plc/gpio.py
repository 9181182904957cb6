"""Digital outputs for verdicts: OK, NG and ready lines of a GPIO chip, held by a process of their own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.credentials import environment_for_child
from edge_ad.errors import DeviceError, require
from edge_ad.plc.condition import Fault, LineCondition
from edge_ad.plc.gpio_options import GpioOptions
from edge_ad.plc.results import PartResult, PartResults, ResultRule, VerdictCode
from edge_ad.streaming.frame import Event, Result, Unjudged
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sinks.hook import Alarm
from edge_ad.streaming.sources.base import Source

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["GpioSink"]

_log = logging.getLogger(__name__)
_COMMAND = "from edge_ad.plc.gpio_process import main; main()"
_START_S, _END_S, _SAY_EVERY_S = 20.0, 3.0, 0.2
_NOT_READY_S = 2.0  # after a pulse that was not given: a part went its way without it


class GpioSink(Sink):
    """A pulse for each result, and a line that is active while the line may rely on the stream.

    The lines belong to a process that makes them inactive when this one ends, crashes, or says nothing for a second.

    Args:
        options: Chip, lines and delays.
        rule: What is a result.
        command: What is started, with the options as its last argument; None for the process of this module.

    Raises:
        MissingDependencyError: libgpiod is not installed.
        DeviceError: There is no such chip.
    """

    def __init__(self, options: GpioOptions, rule: ResultRule, *, command: list[str] | None = None) -> None:
        if command is None:
            require("gpiod", extra="gpio")
            if not Path(options.chip).exists():
                raise DeviceError(f"There is no GPIO chip {options.chip}.", "gpiodetect lists those of this machine.")
        self._options, self._command = options, command or [sys.executable, "-c", _COMMAND]
        self._results, self._condition = PartResults(rule), LineCondition()
        self._alarm = Alarm("gpio")
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._captured: dict[str, float] = {}
        self._missed_at = float("-inf")
        self._threads: list[threading.Thread] = []

    def attach(self, control: StreamControl) -> None:
        """Follow this stream, and raise alarms there."""
        self._condition.attach(control)
        self._alarm.attach(control)

    def begin(self, source: Source) -> None:
        """Take the lines.

        Raises:
            DeviceError: The chip or a line cannot be used.
        """
        request = json.dumps(self._options.to_dict())
        environment = environment_for_child() | {"PYTHONSAFEPATH": "1"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = process = subprocess.Popen([*self._command, request], env=environment, **pipes)
        starting = threading.Timer(_START_S, process.kill)
        starting.start()
        answer = _answer(process)
        starting.cancel()
        if "open" not in answer:
            self._process = None
            _end(process)
            why = answer.get("error", "its process does not answer")
            raise DeviceError(f"The GPIO lines of {self._options.chip} cannot be used: {why}.", "gpioinfo shows them.")
        if not answer.get("is_prompt", True):
            _log.warning("No real-time priority: GPIO pulses may come late when the cores are busy (LimitRTPRIO=50).")
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)  # a process that hangs must not hold up the stream
        self._is_over.clear()
        self._threads = [threading.Thread(target=run, name="gpio", daemon=True) for run in (self._say, self._listen)]
        for thread in self._threads:
            thread.start()

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Give a pulse for a frame, where frames are results."""
        if not result.reason:
            self._condition.judged()
        self._captured[result.frame.source] = result.frame.captured_at
        self._pulse(self._results.of_result(result), result.frame.source)

    def unjudged(self, unjudged: Unjudged) -> None:
        """Note why a frame is not judged of which nobody waits for a verdict."""
        self._condition.unjudged(unjudged)

    def event(self, event: Event) -> None:
        """Give a pulse for a part that is over."""
        self._condition.event(event)
        self._pulse(self._results.of_event(event), event.source)

    def close(self) -> None:
        """Give the pulses that wait, make the lines inactive and give them back; may be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        self._condition.stop()
        self._is_over.set()
        self._send(process, {"ready": False, "end": True})
        with suppress(subprocess.TimeoutExpired):
            process.wait((self._options.delay_s or 0.0) + self._options.pulse_s + _END_S)
        process.terminate()  # a conveyor that stands still: what waits for its encoder is not given
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        process.kill()
        for thread in self._threads:
            thread.join()
        _end(process)

    def _pulse(self, result: PartResult | None, source: str) -> None:
        if result is None or self._process is None:
            return
        output = "ok" if result.code is VerdictCode.OK else "ng"
        # The monotonic clock is that of `perf_counter` where there are GPIO lines; its process reads it by itself.
        offset = time.monotonic() - time.perf_counter()
        self._send(self._process, {"pulse": output, "at": self._captured.get(source, time.perf_counter()) + offset})

    def _send(self, process: subprocess.Popen[bytes], word: dict[str, object]) -> None:
        assert process.stdin is not None
        try:
            with self._lock:
                os.write(process.stdin.fileno(), json.dumps(word).encode() + b"\n")
        except (OSError, ValueError):
            self._alarm.raise_once("The process that holds the GPIO lines has ended: no pulses are given.")
            self.dropped += "pulse" in word

    def _say(self) -> None:
        """Tell the process that the stream is alive, and whether it may be relied on."""
        while not self._is_over.wait(_SAY_EVERY_S) and (process := self._process) is not None:
            is_sound = time.monotonic() - self._missed_at > _NOT_READY_S
            if is_sound and process.poll() is None:
                self._alarm.clear("The GPIO pulses are given again.", lost=self.dropped)
            self._send(process, {"ready": is_sound and self._condition.fault() is Fault.NONE})

    def _listen(self) -> None:
        process = self._process
        while process is not None and (answer := _answer(process)):
            self._missed_at = time.monotonic()
            self.dropped += int(answer.get("lost", 0))
            self._alarm.raise_once(str(answer.get("alarm", "")))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _answer(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The next line of the process; empty at its end."""
    assert process.stdout is not None
    try:
        found = json.loads(process.stdout.readline() or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
