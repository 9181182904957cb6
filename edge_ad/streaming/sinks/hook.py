"""Runs a command when a defect is found, for a relay, a lamp or an ejector."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_ad.credentials import environment_for_child
from edge_ad.errors import UsageError
from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.records.schema import iso_time
from edge_ad.streaming.sinks.base import Outbox, Sink
from edge_ad.streaming.sources.base import Source
from edge_ad.strict_json import to_json

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["Alarm", "HookSink", "parse_command"]

_CAPACITY = 16  # an ejector that far behind would hit other parts
_CLOSE_S = 3.0
_POLL_S = 0.1
_KINDS = frozenset(
    {
        "ng",
        "ng over",
        "drift",
        "scene changed",
        "source lost",
        "source returned",
        "alarm",
        "alarm cleared",
        "golden check due",
        "golden check failed",
    }
)
_FACTS = ("score", "threshold", "reason", "frame", "path", "part", "part_id", "regions")


class Alarm:
    """Raises ``"alarm"`` at the first of many failures and ``"alarm cleared"`` when it works again.

    Thread-safe. Before it is attached to a stream it only keeps its state.

    Args:
        name: What it is about, such as ``"records"``; in every event's data.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._text = ""
        self._control: StreamControl | None = None
        self._lock = threading.Lock()

    @property
    def is_raised(self) -> bool:
        """Whether there is a fault now."""
        return bool(self._text)

    def attach(self, control: StreamControl) -> None:
        """Send events to this stream from now on."""
        self._control = control

    def raise_once(self, text: str) -> None:
        """Report a fault, unless it is reported already.

        Args:
            text: One sentence.
        """
        with self._lock:
            if self._text:
                return
            self._text = text
        self._tell("alarm", text, {"alarm": self.name})

    def clear(self, text: str, **data: object) -> None:
        """Report that the fault is over, if there was one.

        Args:
            text: One sentence.
            data: More for programs.
        """
        with self._lock:
            if not self._text:
                return
            self._text = ""
        self._tell("alarm cleared", text, {"alarm": self.name, **data})

    def _tell(self, kind: str, text: str, data: dict[str, object]) -> None:
        if self._control is not None:
            self._control.emit(Event(kind, time.time(), text=text, data=data))


def parse_command(command: str) -> list[str]:
    """Split a command as a shell would, without running one.

    Raises:
        UsageError: It is empty, has an open quote, or there is no such program.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"The hook {command!r} cannot be read: {error}.", "Close the quotes.") from error
    if not words:
        raise UsageError("The hook is empty.", "Give a command, such as --hook 'gpioset gpiochip0 17=1'.")
    if shutil.which(words[0]) is None:
        raise UsageError(f"There is no program {words[0]} to run as a hook.", "Give its path, and make it executable.")
    return words


class HookSink(Sink):
    """Runs the command once for every event that calls for action, one at a time and in order.

    It gets no input, its output is discarded, and it is killed with its children when it takes too long. It inherits no
    setting or secret of this program. In its environment: EDGE_AD_EVENT (``ng``, ``ng over``, ``drift``, ``scene
    changed``, ``source lost``, ``source returned``, ``alarm``, ``alarm cleared``),
    EDGE_AD_VERDICT (``NG`` or ``OK``; empty when the event is not about a part), EDGE_AD_SOURCE, EDGE_AD_TIME (ISO
    8601), EDGE_AD_TEXT and, where the event has them, EDGE_AD_SCORE, EDGE_AD_THRESHOLD, EDGE_AD_REASON, EDGE_AD_FRAME,
    EDGE_AD_PATH (of the image or video file; empty for a camera), EDGE_AD_PART,
    EDGE_AD_PART_ID and EDGE_AD_REGIONS (JSON).

    Args:
        command: Program and arguments.
        timeout_s: Longest it may run.
    """

    delivery = "lossy"

    def __init__(self, command: Sequence[str], *, timeout_s: float = 5.0) -> None:
        self._command, self._timeout_s = list(command), timeout_s
        self._alarm = Alarm("hook")
        self._outbox: Outbox[Event] | None = None
        self._is_over = threading.Event()

    def attach(self, control: StreamControl) -> None:
        """Raise alarms there."""
        self._alarm.attach(control)

    def begin(self, source: Source) -> None:
        """Get ready."""
        self._is_over.clear()
        self._outbox = Outbox("hook", self._run, self._failed, capacity=_CAPACITY)

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Does nothing: the hook runs for events only."""

    def event(self, event: Event) -> None:
        """Run the command for it, unless it is about the hook itself."""
        if self._outbox is None or event.kind not in _KINDS or event.data.get("alarm") == "hook":
            return
        self._outbox.put(event)
        self.dropped = self._outbox.dropped

    def close(self) -> None:
        """Run what waits, for three seconds at most; then a running command is killed."""
        if self._outbox is not None:
            self._outbox.close(_CLOSE_S, self._is_over.set)
            self.dropped = self._outbox.dropped
            self._outbox = None

    def _run(self, event: Event, wait: Callable[[float], bool]) -> None:
        problem = self._problem_of_running(event)
        if problem is None:
            self._alarm.clear("The hook works again.")
        else:
            self._alarm.raise_once(f"The hook {self._command[0]} {problem}.")

    def _failed(self, error: Exception) -> None:
        self._alarm.raise_once(f"The hook {self._command[0]} could not be run ({error}).")

    def _problem_of_running(self, event: Event) -> str | None:
        try:
            process = subprocess.Popen(
                self._command,
                env=_environment(event),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # so that its children can be killed with it, and Ctrl-C does not reach it
            )
        except OSError as error:
            return f"cannot be run: {error.strerror}"
        code = self._exit_code(process)
        if code is None:
            _kill(process)
            return f"took longer than {self._timeout_s:g} s, or than the stream, and was killed"
        return None if code == 0 else f"ended with {code}"

    def _exit_code(self, process: subprocess.Popen[bytes]) -> int | None:
        """Exit code of the command; None when it takes too long or the stream is over."""
        kill_at = time.monotonic() + self._timeout_s
        while (left := kill_at - time.monotonic()) > 0 and not self._is_over.is_set():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(min(_POLL_S, left))
        return process.poll()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _environment(event: Event) -> dict[str, str]:
    verdict = {"ng": "NG", "ng over": "OK"}.get(event.kind, "")
    facts = {
        "EVENT": event.kind,
        "VERDICT": verdict,
        "SOURCE": event.source,
        "TIME": iso_time(event.at_unix),
        "TEXT": event.text,
    }
    told = {name: event.data[name] for name in _FACTS if name in event.data}
    facts |= {name.upper(): _text(value) for name, value in told.items()}
    return {**environment_for_child(), **{f"EDGE_AD_{name}": value.replace("\0", "") for name, value in facts.items()}}


def _text(value: object) -> str:
    """A value of an event's data; empty for a number that was not finite."""
    if isinstance(value, list):
        return to_json(value)
    return "" if value is None else str(value)
