"""Pinned host memory and device memory for the tensors of a deploy graph, and the events that order their use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge_ad.errors import DeviceError
from edge_ad.runtime.cuda.calls import CudaCallError
from edge_ad.runtime.cuda.driver import CudaDriver, CudaStream
from edge_ad.runtime.cuda.graphs import CudaGraph, GraphCapture
from edge_ad.runtime.deploy_graph import INPUT_NAME
from edge_ad.runtime.engine_source import backend_errors
from edge_ad.runtime.tensorrt.plan import Plan
from edge_ad.runtime.tensorrt.timings import StageTimes

__all__ = ["Execution", "Slot", "Span", "TensorMemory"]


class TensorMemory:
    """A tensor in pinned host memory, for asynchronous copies, and in device memory.

    Args:
        driver: CUDA.
        shape: Largest shape, batch first.
        dtype: Type of an element.
    """

    def __init__(self, driver: CudaDriver, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._driver = driver
        pinned = driver.allocate_pinned(shape, dtype)
        self._pinned, self._free_pinned = pinned.array, pinned.free
        try:
            self.device = driver.allocate(self._pinned.nbytes)
        except BaseException:
            self._free_pinned()
            raise

    def host(self, batch: int) -> NDArray[Any]:
        """The pinned memory of the first images, which a copy to or from the device fills."""
        view: NDArray[Any] = self._pinned[:batch]
        return view

    def upload(self, batch: int, stream: CudaStream) -> None:
        """Queue the copy of the first images to the device."""
        self._driver.upload(self.device, self._pinned[:batch], stream)

    def download(self, batch: int, stream: CudaStream) -> None:
        """Queue the copy of the first images from the device."""
        self._driver.download(self._pinned[:batch], self.device, stream)

    def copy_to(self, other: TensorMemory, batch: int, stream: CudaStream) -> None:
        """Queue the copy of the first images to another tensor's device memory."""
        self._driver.copy(int(other.device), int(self.device), self._pinned[:batch].nbytes, stream)

    def steps(self) -> list[Callable[[], None]]:
        """What frees it."""
        return [self.device.free, self._free_pinned]


class Span:
    """Two events around a stage on a stream.

    Args:
        driver: CUDA.
    """

    def __init__(self, driver: CudaDriver) -> None:
        self.start = driver.make_event()
        self.end = driver.make_event()

    def duration_ms(self) -> float:
        """Time between the two, in milliseconds; both must have happened."""
        return float(self.end.time_since(self.start))


class Slot:
    """The buffers and events of one batch on its way through the GPU.

    Args:
        driver: CUDA.
        batch: Largest batch.
        size_hw: Height and width of the images, in pixels.
    """

    def __init__(self, driver: CudaDriver, batch: int, size_hw: tuple[int, int]) -> None:
        self._memory: list[TensorMemory] = []
        self.batch = 0
        try:
            self.image = self._allocate(driver, (batch, *size_hw, 3), np.uint8)
            self.score = self._allocate(driver, (batch,), np.float32)
            self.anomaly_map = self._allocate(driver, (batch, *size_hw), np.float32)
            self.h2d, self.compute, self.d2h = Span(driver), Span(driver), Span(driver)
        except BaseException:
            for step in self.steps():
                step()
            raise

    def fill(self, images: NDArray[np.uint8], batch: int) -> None:
        """Copy frames into pinned memory; black ones fill up to ``batch``, which a plan may need at least."""
        host = self.image.host(batch)
        host[: len(images)] = images
        host[len(images) :] = 0
        self.batch = batch

    def wait(self) -> None:
        """Wait for the copies from the device; the slot is free then."""
        self.d2h.end.synchronize()
        self.batch = 0

    def result(self, images: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Wait, and copy the results of the first images out of pinned memory."""
        self.wait()
        return self.score.host(images).copy(), self.anomaly_map.host(images).copy()

    def times(self) -> StageTimes:
        """Time of each stage; call after `result`."""
        return StageTimes(self.h2d.duration_ms(), self.compute.duration_ms(), self.d2h.duration_ms())

    def steps(self) -> list[Callable[[], None]]:
        """Steps that free it, in order; nothing may be queued on it."""
        return [*(step for memory in self._memory for step in memory.steps()), self._drop_events]

    def _allocate(self, driver: CudaDriver, shape: tuple[int, ...], dtype: DTypeLike) -> TensorMemory:
        memory = TensorMemory(driver, shape, dtype)
        self._memory.append(memory)
        return memory

    def _drop_events(self) -> None:
        for name in ("h2d", "compute", "d2h"):
            self.__dict__.pop(name, None)  # an event is destroyed with its last reference


class Execution:
    """A plan's execution context, bound to the device memory of one slot for its whole life.

    A captured graph holds the addresses and shapes of its capture; after a change of the context, its behaviour is
    undefined. So the addresses never change, and another batch size discards the graph.

    Args:
        plan: The plan.
        bound: The slot whose device memory is read and written.
        stream: The stream it runs on.
        capture: Captures graphs on that stream; None to queue the kernels each time.
    """

    def __init__(self, plan: Plan, bound: Slot, stream: CudaStream, capture: GraphCapture | None) -> None:
        self._log = plan.log
        self._size_hw_c = tuple(bound.image.host(0).shape[1:])
        self._stream = stream
        self._capture = capture
        self._graph: CudaGraph | None = None
        self._batch = 0
        self._plain_runs = 0
        self._runs_before_capture = 1
        with backend_errors("TensorRT", "make an execution context"):
            self._context = plan.engine.create_execution_context()
        if self._context is None:
            raise DeviceError(f"TensorRT could not make an execution context{self._said()}.", "Free some GPU memory.")
        for name, memory in ((INPUT_NAME, bound.image), ("score", bound.score), ("anomaly_map", bound.anomaly_map)):
            self._require(self._context.set_tensor_address(name, int(memory.device)), f"bind {name}")

    @property
    def uses_graph(self) -> bool:
        """Whether the last run was the launch of a graph."""
        return self._graph is not None

    def enqueue(self, batch: int) -> None:
        """Queue a run on the bound memory.

        Args:
            batch: Number of images, within the plan's range.

        Raises:
            DeviceError: TensorRT refuses.
            CudaCallError: The graph cannot be launched.
        """
        if batch != self._batch:
            self._reshape(batch)
        elif self._graph is None and self._plain_runs >= self._runs_before_capture and self._capture is not None:
            # After a plain run, because TensorRT finishes its preparations for a shape in the first one.
            self._graph = self._captured(self._capture)
        if self._graph is not None:
            self._graph.launch()
        else:
            self._run_plainly()
            self._plain_runs += 1

    def steps(self) -> list[Callable[[], None]]:
        """Steps that free it, in order; nothing may be queued on it."""
        return [self._drop_graph, self._drop_context]

    def _reshape(self, batch: int) -> None:
        self._stream.synchronize()  # do not change the context and its graph during a run
        if self._graph is not None:
            self._drop_graph()
            self._runs_before_capture *= 2  # a caller who keeps changing the batch gains nothing from captures
        self._batch, self._plain_runs = 0, 0
        self._require(self._context.set_input_shape(INPUT_NAME, (batch, *self._size_hw_c)), f"take a batch of {batch}")
        self._batch = batch

    def _captured(self, capture: GraphCapture) -> CudaGraph | None:
        try:
            return capture.capture(self._run_plainly)
        except (CudaCallError, DeviceError):  # some layers cannot be captured; they run without a graph
            self._capture = None
            return None

    def _run_plainly(self) -> None:
        self._require(self._context.execute_async_v3(self._stream.handle), "run the plan")

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.destroy()

    def _drop_context(self) -> None:
        self._context = None

    def _require(self, succeeded: bool, action: str) -> None:
        said = self._said()  # take it each time, so that no older error is reported
        if not succeeded:
            raise DeviceError(f"TensorRT could not {action}{said}.")

    def _said(self) -> str:
        error = self._log.take_error()
        return f": {error}" if error else ""
