"""Ctrl-C, SIGTERM and SIGHUP as a request to end, so that no sink is cut in the middle of a record."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from edge_ad.errors import EdgeAdError

__all__ = ["StopSignals"]

_HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
_POLL_S = 0.1


class StopSignals:
    """While entered, the first SIGINT, SIGTERM or SIGHUP is noted and a second SIGINT or SIGTERM acts as usual.

    A closing terminal sends SIGHUP more than once, and a service manager may send it right after SIGTERM: any later one
    changes nothing. Where SIGHUP is ignored already, as under nohup, it stays ignored.

    Outside the main thread, where Python allows no handlers, it notes nothing.

    Attributes:
        received: The signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
            if _HANG_UP is not None and signal.getsignal(_HANG_UP) is not signal.SIG_IGN:
                self._previous[_HANG_UP] = signal.signal(_HANG_UP, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore(*self._previous)

    @contextmanager
    def ending(self, cancels: Sequence[Callable[[], None]]) -> Iterator[None]:
        """While entered, a signal ends what waits, such as connections that are being opened.

        What cannot be opened then is no fault: the signal acts as usual. A thread looks for the signal, since a handler
        may take no lock.

        Args:
            cancels: What is called then; each may be called from any thread.
        """
        is_over = threading.Event()

        def watch() -> None:
            while not is_over.wait(_POLL_S):
                if self.received is not None:
                    for cancel in cancels:
                        cancel()
                    return

        watcher = threading.Thread(target=watch, name="stream-signals", daemon=True)
        watcher.start()
        try:
            yield
        except EdgeAdError:
            if self.received is not None:
                self._restore(*self._previous)
                signal.raise_signal(self.received)
            raise
        finally:
            is_over.set()
            watcher.join()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)
        if number != _HANG_UP:
            self._restore(signal.SIGINT, signal.SIGTERM)

    def _restore(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            if number in self._previous:
                signal.signal(number, self._previous.pop(number))
