"""SIGTERM and SIGHUP end a command as Ctrl-C does: what it was writing is completed or removed first."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["TerminationSignals"]

_NUMBERS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP
_INTERRUPTED = 130


class TerminationSignals:
    """While entered, the first SIGTERM or SIGHUP raises KeyboardInterrupt and a second SIGTERM ends the process.

    A closing terminal sends SIGHUP more than once: later ones change nothing. A signal that is not at its default, such
    as SIGHUP under nohup, is left as it is; outside the main thread, where Python allows no handlers, all are.
    """

    def __init__(self) -> None:
        self._received = 0
        self._ours: list[signal.Signals] = []

    def __enter__(self) -> TerminationSignals:
        if threading.current_thread() is threading.main_thread():
            self._ours = [number for number in _NUMBERS if signal.getsignal(number) == signal.SIG_DFL]
        for number in self._ours:
            signal.signal(number, self._end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._ours:
            signal.signal(number, signal.SIG_DFL)

    def exit_code(self, code: int) -> int:
        """The exit code of a command: 128 and the signal's number in place of that of Ctrl-C, if one ended it."""
        return 128 + self._received if self._received and code == _INTERRUPTED else code

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._received = number
        for ours in self._ours:
            signal.signal(ours, signal.SIG_DFL if ours == signal.SIGTERM else signal.SIG_IGN)
        raise KeyboardInterrupt
