"""CUDA graphs through cuda-bindings: a captured launch costs the CPU one call instead of one per kernel."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from edge_ad.runtime.tensorrt.failures import CudaCallError

__all__ = ["CudaGraph", "GraphCapture"]


class CudaGraph:
    """A captured sequence of kernels, ready to launch on the stream it was captured from.

    Args:
        api: ``cuda.bindings.driver``.
        executable: The instantiated graph.
        stream: The stream.
    """

    def __init__(self, api: Any, executable: Any, stream: Any) -> None:
        self._api = api
        self._executable = executable
        self._stream = stream

    def launch(self) -> None:
        """Queue it.

        Raises:
            CudaCallError: The driver refuses.
        """
        _check(self._api.cuGraphLaunch(self._executable, self._stream), "cuGraphLaunch")

    def destroy(self) -> None:
        """Free it; it must not be queued any more.

        Raises:
            CudaCallError: The driver refuses.
        """
        _check(self._api.cuGraphExecDestroy(self._executable), "cuGraphExecDestroy")


class GraphCapture:
    """Captures graphs from a stream.

    Args:
        api: ``cuda.bindings.driver``.
        stream_handle: Raw handle of the stream, as pycuda and TensorRT take it.
    """

    def __init__(self, api: Any, stream_handle: int) -> None:
        self._api = api
        self._stream = api.CUstream(stream_handle)

    @classmethod
    def on(cls, stream_handle: int) -> GraphCapture | None:
        """For a stream; None where cuda-bindings is not installed: pycuda alone cannot capture."""
        try:
            api = importlib.import_module("cuda.bindings.driver")
        except ImportError:
            return None
        return cls(api, stream_handle)

    def capture(self, enqueue: Callable[[], None]) -> CudaGraph:
        """Record what a callable queues on the stream; nothing of it runs.

        Args:
            enqueue: Queues the work.

        Raises:
            CudaCallError: Something in it cannot be captured.
        """
        api = self._api
        # Thread-local: what other threads of the process do on the GPU does not spoil the capture.
        mode = api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _check(api.cuStreamBeginCapture(self._stream, mode), "cuStreamBeginCapture")
        try:
            enqueue()
        except BaseException:
            self._abandon()
            raise
        (graph,) = _check(api.cuStreamEndCapture(self._stream), "cuStreamEndCapture")
        try:
            (executable,) = _check(api.cuGraphInstantiate(graph, 0), "cuGraphInstantiate")
        finally:
            api.cuGraphDestroy(graph)
        return CudaGraph(api, executable, self._stream)

    def _abandon(self) -> None:
        error, *graphs = self._api.cuStreamEndCapture(self._stream)
        if int(error) == 0:
            for graph in graphs:
                self._api.cuGraphDestroy(graph)


def _check(answer: tuple[Any, ...], call: str) -> tuple[Any, ...]:
    error, *values = answer
    if int(error) != 0:
        raise CudaCallError(f"{call} failed: {getattr(error, 'name', error)}")
    return tuple(values)
