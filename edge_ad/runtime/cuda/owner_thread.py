"""The one thread on which an engine uses the GPU."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from edge_ad.errors import DeviceError, EdgeAdError
from edge_ad.runtime.cuda.driver import CudaDriver
from edge_ad.runtime.cuda.failures import lost_device, release_frames, translate

__all__ = ["OwnerThread"]

_Result = TypeVar("_Result")
_START_TIMEOUT_S = 60.0


class OwnerThread:
    """Runs work on its own thread, where the device's primary context is current.

    A CUDA context belongs to the thread that pushed it; another thread that uses its memory gets "no active context".
    TensorRT and other libraries of the process use the primary context too.

    Args:
        driver: CUDA, initialised.
    """

    def __init__(self, driver: CudaDriver) -> None:
        self._driver = driver
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lost: str | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the device failed; every later call is refused at once."""
        return self._lost is not None

    def start(self) -> None:
        """Start the thread and make the context current on it.

        Raises:
            DeviceError: The context cannot be made.
        """
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        # A daemon: a driver that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, args=(started,), name="edge-ad-gpu", daemon=True)
        self._thread.start()
        self._wait(started, _START_TIMEOUT_S, "make a context")

    def call(self, work: Callable[[], _Result], *, timeout_s: float, action: str) -> _Result:
        """Run work on the thread and wait for its result.

        Args:
            work: What to run.
            timeout_s: Seconds after which the device counts as lost.
            action: What it does, for the message.

        Raises:
            DeviceError: The device was lost before, is lost now, or has too little memory.
            EdgeAdError: The thread was stopped.
        """
        if self._lost is not None:
            raise lost_device(self._lost)
        if self._thread is None:
            raise EdgeAdError("The engine's thread has ended.", "Open the engine again.")
        done: concurrent.futures.Future[_Result] = concurrent.futures.Future()
        self._tasks.put(lambda: self._attempt(work, done))
        return self._wait(done, timeout_s, action)

    def stop(self, release: Callable[[], None], *, timeout_s: float) -> bool:
        """Run a last piece of work, release the context and end the thread, in any state of the device.

        Args:
            release: Frees what lives on the device; may fail when the device is lost.
            timeout_s: Longest wait, in seconds.

        Returns:
            Whether the thread has ended; if not, the driver does not answer, and the thread is abandoned.

        Raises:
            Exception: What ``release`` raised, unless the device was lost before.
        """
        thread, self._thread = self._thread, None
        was_lost = self.is_lost
        if thread is None:
            return True
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._tasks.put(lambda: self._attempt(release, done))
        self._tasks.put(None)
        thread.join(timeout_s)
        if done.done() and not was_lost:
            done.result()
        return not thread.is_alive()

    def _wait(self, done: concurrent.futures.Future[_Result], timeout_s: float, action: str) -> _Result:
        try:
            return done.result(timeout_s)
        except concurrent.futures.TimeoutError:
            if done.done():  # just now, or the work itself ran into a time limit
                return done.result()
        self._lost = f"it did not {action} within {timeout_s:g} s"
        raise lost_device(self._lost) from None

    def _run(self, started: concurrent.futures.Future[None]) -> None:
        try:
            with self._driver.current_context():
                started.set_result(None)
                self._serve()
        except BaseException as error:  # otherwise it would be lost with the thread
            self._report(error, started)

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()

    def _attempt(self, work: Callable[[], _Result], done: concurrent.futures.Future[_Result]) -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # the caller is waiting: pass on any exception
            self._report(error, done)

    def _report(self, error: BaseException, done: concurrent.futures.Future[Any]) -> None:
        reported, is_lost = translate(self._driver, error)
        if is_lost and self._lost is None:
            self._lost = _reason(reported)
        release_frames(error)
        if not done.done():
            done.set_exception(reported)


def _reason(error: BaseException) -> str:
    message = error.message if isinstance(error, DeviceError) else str(error)
    return message.partition("(")[2].rpartition(")")[0] or message
