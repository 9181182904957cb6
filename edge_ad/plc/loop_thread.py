"""An asyncio event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, TypeVar

from edge_ad.errors import DeviceError

__all__ = ["LoopThread"]

_Answer = TypeVar("_Answer")
_JOIN_S = 2.0


class LoopThread:
    """Runs coroutines for threads that are not asynchronous.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, _Answer], timeout_s: float) -> _Answer:
        """Run a coroutine there and wait for its answer.

        Raises:
            DeviceError: It took too long.
            Exception: What the coroutine raised.
        """
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout_s)
        except (TimeoutError, FutureTimeoutError) as error:
            if future.done():
                raise
            future.cancel()
            raise DeviceError(f"{self._name} does not answer within {timeout_s:g} s.") from error

    def close(self) -> None:
        """End what still runs there, and the thread."""
        with suppress(RuntimeError):  # it has ended
            self.loop.call_soon_threadsafe(self._end)
        self._thread.join(_JOIN_S)

    def _end(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.call_soon(self.loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            left = asyncio.all_tasks(self.loop)
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            self.loop.close()
