"""Engines on an NVIDIA GPU; the pipeline runs on an owner thread of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, EdgeAdError
from edge_ad.manifest import Threshold
from edge_ad.prediction import Prediction
from edge_ad.runtime.cuda.device import cuda_driver, device_name, device_target
from edge_ad.runtime.cuda.driver import CudaDriver
from edge_ad.runtime.cuda.owner_thread import OwnerThread
from edge_ad.runtime.engine import Engine, EngineDescription
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.tensorrt.api import TensorRtName, tensorrt_module, tensorrt_version
from edge_ad.runtime.tensorrt.memory import Slot
from edge_ad.runtime.tensorrt.pipeline import Pipeline, Results
from edge_ad.runtime.tensorrt.plan import Plan, load_plan
from edge_ad.runtime.tensorrt.timings import DeviceTimings, TimingLog

__all__ = ["GpuEngine", "TensorRtEngine"]

_OPEN_TIMEOUT_S = 600.0  # TensorRT for RTX compiles its kernels then
_RUN_TIMEOUT_S = 60.0
_CLOSE_TIMEOUT_S = 10.0
_CLOSE_LOST_TIMEOUT_S = 2.0


class GpuEngine(Engine):
    """An engine that runs a plan on an NVIDIA GPU; what loads the plan is left to a subclass.

    Args:
        description: What the engine is.
        threshold: Threshold on its scores; None for one without.
        run_timeout_s: A GPU that takes longer for one call counts as lost.
    """

    def __init__(
        self, description: EngineDescription, threshold: Threshold | None, *, run_timeout_s: float = _RUN_TIMEOUT_S
    ) -> None:
        super().__init__(description, threshold)
        self._run_timeout_s = run_timeout_s
        self._timing_log = TimingLog()
        self._owner: OwnerThread | None = None
        self._pipeline: Pipeline | None = None

    @abstractmethod
    def _make_loader(self) -> tuple[CudaDriver, Callable[[], Plan]]:
        """The driver, and what loads the plan; the latter is called on the owner thread, after the streams are made."""

    def timings(self) -> DeviceTimings | None:
        """Times of the last inferences on the GPU; None before the first."""
        uses_graph = self._pipeline is not None and self._pipeline.uses_graph
        return self._timing_log.summary(uses_cuda_graph=uses_graph)

    def clear_timings(self) -> None:
        """Discard the times so far, such as those of the warm-up."""
        self._timing_log.clear()

    def _open(self) -> None:
        driver, load = self._make_loader()
        owner = OwnerThread(driver)
        made: list[Pipeline] = []  # so that it is closed even when this thread is interrupted while it waits

        def make() -> None:
            made.append(Pipeline(driver, load, self._description.input_size_hw, self._timing_log.add))

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


class TensorRtEngine(GpuEngine):
    """An engine that runs a plan of TensorRT.

    Args:
        backend: ``"tensorrt"`` or ``"tensorrt-rtx"``.
        source: The engine directory with the plan.
        run_timeout_s: A GPU that takes longer for one call counts as lost.

    Raises:
        MissingDependencyError: TensorRT or a package for CUDA is not installed.
        DeviceError: There is no NVIDIA driver or GPU.
    """

    def __init__(self, backend: TensorRtName, source: EngineSource, *, run_timeout_s: float = _RUN_TIMEOUT_S) -> None:
        description = EngineDescription(
            backend=backend,
            precision=source.precision,
            device=f"GPU: {device_name()} ({device_target()})",
            version=tensorrt_version(backend),
            input_size_hw=source.input_size_hw,
            threads=0,
            source=source.words,
        )
        super().__init__(description, source.threshold, run_timeout_s=run_timeout_s)
        self._backend = backend
        self._source = source

    def _make_loader(self) -> tuple[CudaDriver, Callable[[], Plan]]:
        trt = tensorrt_module(self._backend)
        return cuda_driver(), partial(load_plan, trt, self._source, self._description.version)
