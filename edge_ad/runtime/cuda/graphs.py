"""CUDA graphs: work that was queued on a stream once, launched again by one call."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from edge_ad.runtime.cuda.calls import CudaCallError, CudaCalls

__all__ = ["CudaGraph", "GraphCapture"]


class CudaGraph:
    """A captured sequence of kernels, ready to launch on the stream it was captured from.

    Args:
        calls: Calls of ``cuda.bindings.driver``.
        executable: The instantiated graph.
        stream: The stream.
    """

    def __init__(self, calls: CudaCalls, executable: Any, stream: Any) -> None:
        self._calls = calls
        self._executable = executable
        self._stream = stream

    def launch(self) -> None:
        """Queue it.

        Raises:
            CudaCallError: The driver refuses.
        """
        self._calls.cuGraphLaunch(self._executable, self._stream)

    def destroy(self) -> None:
        """Free it; it must not be queued any more.

        Raises:
            CudaCallError: The driver refuses.
        """
        self._calls.cuGraphExecDestroy(self._executable)


class GraphCapture:
    """Captures graphs from a stream.

    Args:
        api: ``cuda.bindings.driver``.
        stream_handle: Raw handle of the stream, as pycuda and TensorRT take it.
    """

    def __init__(self, api: Any, stream_handle: int) -> None:
        self._calls = CudaCalls(api)
        self._stream = api.CUstream(stream_handle)
        # Thread-local: other threads' work on the GPU does not break the capture.
        self._mode = api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

    @classmethod
    def on(cls, stream_handle: int) -> GraphCapture | None:
        """For a stream; None where cuda-bindings is not installed: pycuda alone cannot capture."""
        try:
            api = importlib.import_module("cuda.bindings.driver")
        except ImportError:
            return None
        return cls(api, stream_handle)

    def capture(self, enqueue: Callable[[], None]) -> CudaGraph:
        """Record what a callable queues on the stream, without running it.

        Args:
            enqueue: Queues the work.

        Raises:
            CudaCallError: Something in it cannot be captured.
        """
        calls = self._calls
        calls.cuStreamBeginCapture(self._stream, self._mode)
        try:
            enqueue()
        except BaseException:
            self._abandon()
            raise
        graph = calls.cuStreamEndCapture(self._stream)
        try:
            executable = calls.cuGraphInstantiate(graph, 0)
        finally:
            calls.cuGraphDestroy(graph)
        return CudaGraph(calls, executable, self._stream)

    def _abandon(self) -> None:
        with suppress(CudaCallError):  # what broke the capture is already being raised
            self._calls.cuGraphDestroy(self._calls.cuStreamEndCapture(self._stream))
