"""Ctrl-C and SIGTERM as a request to end, so that no sink is cut in the middle of a record."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopSignals"]

_POLL_S = 0.1


class StopSignals:
    """While entered, the first SIGINT or SIGTERM is noted and the second acts as usual.

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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @contextmanager
    def ending(self, cancels: Sequence[Callable[[], None]]) -> Iterator[None]:
        """While entered, a signal ends what waits, such as connections that are being opened.

        A thread looks for the signal, since a handler may take no lock.

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
        finally:
            is_over.set()
            watcher.join()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
