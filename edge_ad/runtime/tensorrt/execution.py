"""Running a plan: one execution context, bound once, launched as a CUDA graph where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_ad.errors import DeviceError
from edge_ad.runtime.source import INPUT_NAME, backend_errors
from edge_ad.runtime.tensorrt.failures import CudaCallError
from edge_ad.runtime.tensorrt.graphs import CudaGraph, GraphCapture
from edge_ad.runtime.tensorrt.memory import Slot
from edge_ad.runtime.tensorrt.plan import Plan

__all__ = ["Execution"]


class Execution:
    """A plan's execution context, bound to the device memory of one slot for its whole life.

    A captured graph holds the addresses and shapes of its capture, and TensorRT leaves undefined what it does once the
    context was changed. So the addresses never change, and another batch size throws the graph away.

    Args:
        plan: The plan.
        bound: The slot whose device memory is read and written.
        stream: The stream it runs on.
        capture: Captures graphs on that stream; None to queue the kernels each time.
    """

    def __init__(self, plan: Plan, bound: Slot, stream: Any, capture: GraphCapture | None) -> None:
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
            # After a plain run, for TensorRT does its last preparations for a shape in the first.
            self._graph = self._captured(self._capture)
        if self._graph is not None:
            self._graph.launch()
        else:
            self._run_plainly()
            self._plain_runs += 1

    def steps(self) -> list[Callable[[], None]]:
        """What frees it, in order; nothing may be queued on it."""
        return [self._drop_graph, self._drop_context]

    def _reshape(self, batch: int) -> None:
        self._stream.synchronize()  # the context and its graph are not changed under a run
        if self._graph is not None:
            self._drop_graph()
            self._runs_before_capture *= 2  # a caller who keeps changing the batch gains nothing from captures
        self._batch, self._plain_runs = 0, 0
        self._require(self._context.set_input_shape(INPUT_NAME, (batch, *self._size_hw_c)), f"take a batch of {batch}")
        self._batch = batch

    def _captured(self, capture: GraphCapture) -> CudaGraph | None:
        try:
            return capture.capture(self._run_plainly)
        except (CudaCallError, DeviceError):  # some layers cannot be captured; they run as well without
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
        said = self._said()  # taken each time, so that no older error is blamed
        if not succeeded:
            raise DeviceError(f"TensorRT could not {action}{said}.")

    def _said(self) -> str:
        error = self._log.take_error()
        return f": {error}" if error else ""
