"""An engine on TensorRT; the pipeline runs on an owner thread of its own."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, EdgeAdError
from edge_ad.prediction import Prediction
from edge_ad.runtime.engine import Engine, EngineDescription, EngineSource
from edge_ad.runtime.tensorrt.api import (
    DEVICE_INDEX,
    TensorRtName,
    cuda_driver,
    device_name,
    device_target,
    lost_device,
    release_frames,
    tensorrt_module,
    tensorrt_version,
    translate,
)
from edge_ad.runtime.tensorrt.memory import Slot
from edge_ad.runtime.tensorrt.pipeline import Pipeline, Results
from edge_ad.runtime.tensorrt.plan import load_plan
from edge_ad.runtime.tensorrt.timings import DeviceTimings, TimingLog

__all__ = ["OwnerThread", "TensorRtEngine"]

_Result = TypeVar("_Result")
_START_TIMEOUT_S = 60.0
_OPEN_TIMEOUT_S = 600.0  # TensorRT for RTX compiles its kernels then
_RUN_TIMEOUT_S = 60.0
_CLOSE_TIMEOUT_S = 10.0
_CLOSE_LOST_TIMEOUT_S = 2.0


class OwnerThread:
    """Runs work on its own thread, where the device's primary context is current.

    A CUDA context belongs to the thread that pushed it; another thread that uses its memory gets "no active context".
    TensorRT and other libraries of the process use the primary context too.

    Args:
        driver: ``pycuda.driver``, initialised.
    """

    def __init__(self, driver: Any) -> None:
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
            with self._current_context():
                started.set_result(None)
                self._serve()
        except BaseException as error:  # otherwise it would be lost with the thread
            self._report(error, started)

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()

    @contextmanager
    def _current_context(self) -> Iterator[None]:
        context = self._driver.Device(DEVICE_INDEX).retain_primary_context()
        try:
            context.push()
            try:
                yield
            finally:
                self._driver.Context.pop()
        finally:
            context.detach()

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


class TensorRtEngine(Engine):
    """An engine that runs a plan on an NVIDIA GPU.

    Args:
        backend: ``"tensorrt"`` or ``"tensorrt-rtx"``.
        source: The engine directory with the plan.
        run_timeout_s: A GPU that takes longer for one call counts as lost.

    Raises:
        MissingDependencyError: TensorRT or pycuda is not installed.
        DeviceError: There is no NVIDIA driver or GPU.
    """

    def __init__(self, backend: TensorRtName, source: EngineSource, *, run_timeout_s: float = _RUN_TIMEOUT_S) -> None:
        super().__init__(
            EngineDescription(
                backend=backend,
                precision=source.precision,
                device=f"GPU: {device_name()} ({device_target()})",
                version=tensorrt_version(backend),
                input_size_hw=source.input_size_hw,
                threads=0,
                source=source.words,
            ),
            source.threshold,
        )
        self._backend = backend
        self._source = source
        self._run_timeout_s = run_timeout_s
        self._timing_log = TimingLog()
        self._owner: OwnerThread | None = None
        self._pipeline: Pipeline | None = None

    def timings(self) -> DeviceTimings | None:
        """Times of the last inferences on the GPU; None before the first."""
        uses_graph = self._pipeline is not None and self._pipeline.uses_graph
        return self._timing_log.summary(uses_cuda_graph=uses_graph)

    def clear_timings(self) -> None:
        """Discard the times so far, such as those of the warm-up."""
        self._timing_log.clear()

    def _open(self) -> None:
        trt, driver = tensorrt_module(self._backend), cuda_driver()
        load = partial(load_plan, trt, self._source, self._description.version)
        owner = OwnerThread(driver)
        made: list[Pipeline] = []  # so that it is closed even when this thread is interrupted while it waits

        def make() -> None:
            made.append(Pipeline(driver, load, self._source.input_size_hw, self._timing_log.add))

        def unmake() -> None:
            for pipeline in made:
                pipeline.close()

        owner.start()
        try:
            owner.call(make, timeout_s=_OPEN_TIMEOUT_S, action="load the plan")
        except BaseException:
            owner.stop(unmake, timeout_s=_CLOSE_TIMEOUT_S)
            raise
        self._owner, self._pipeline = owner, made[0]

    def _close(self) -> None:
        owner, self._owner = self._owner, None
        pipeline, self._pipeline = self._pipeline, None
        if owner is None or pipeline is None:
            return
        was_lost = owner.is_lost  # then that was reported already
        timeout_s = _CLOSE_LOST_TIMEOUT_S if was_lost else _CLOSE_TIMEOUT_S
        has_ended = owner.stop(pipeline.close, timeout_s=timeout_s)
        if not has_ended and not was_lost:
            raise DeviceError("The GPU did not answer while the engine was closed.", "Look at nvidia-smi and dmesg.")

    def _infer(self, images: NDArray[np.uint8]) -> Results:
        owner, pipeline = self._parts()
        return owner.call(lambda: pipeline.run(images), timeout_s=self._run_timeout_s, action="run the plan")

    def _infer_many(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Prediction]:
        owner, pipeline = self._parts()
        slots = owner.call(pipeline.take_slots, timeout_s=self._run_timeout_s, action="allocate memory")
        free, running = deque(slots), deque[Slot]()
        try:
            for frame in frames:
                slot = free.popleft()
                running.append(slot)
                oldest = None if free else running.popleft()
                results = self._step(slot, frame, oldest)
                if oldest is not None and results is not None:
                    free.append(oldest)
                    yield self._predictions(*results, 1)[0]
            while running:
                results = self._step(None, None, running.popleft())
                if results is not None:
                    yield self._predictions(*results, 1)[0]
        finally:
            self._give_back(slots)

    def _step(self, slot: Slot | None, frame: NDArray[np.uint8] | None, oldest: Slot | None) -> Results | None:
        """Queue a frame and wait for the previous one: one call to the owner thread per frame."""
        owner, pipeline = self._parts()

        def work() -> Results | None:
            if slot is not None and frame is not None:
                pipeline.start(slot, frame)
            return pipeline.finish(oldest) if oldest is not None else None

        return owner.call(work, timeout_s=self._run_timeout_s, action="run the plan")

    def _give_back(self, slots: list[Slot]) -> None:
        owner, pipeline = self._owner, self._pipeline
        if owner is None or pipeline is None:
            return  # closed, and the slots freed with the rest
        with suppress(EdgeAdError):  # given up half-way; the first error is already being raised
            owner.call(
                lambda: pipeline.give_back(slots), timeout_s=self._run_timeout_s, action="finish what was queued"
            )

    def _parts(self) -> tuple[OwnerThread, Pipeline]:
        self._check_open()
        if self._owner is None or self._pipeline is None:
            raise EdgeAdError("This engine is not open.", "Use it in a with block.")
        return self._owner, self._pipeline
