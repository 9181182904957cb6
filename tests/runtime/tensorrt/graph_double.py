"""A strict double of ``cuda.bindings.driver``: stream capture on the same streams as the double of pycuda."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.runtime.tensorrt.cuda_double import FakeCuda
from tests.runtime.tensorrt.cuda_memory_double import Misuse


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_LAUNCH_FAILED = 719
    CUDA_ERROR_NOT_SUPPORTED = 801
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


class CUstreamCaptureMode(enum.IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


@dataclass
class Graph:
    launches: list[Callable[[], None]]
    is_destroyed: bool = False


@dataclass
class Executable:
    launches: list[Callable[[], None]]
    handle: int
    is_destroyed: bool = False


class FakeGraphApi:
    """What ``import cuda.bindings.driver`` gives."""

    CUstreamCaptureMode = CUstreamCaptureMode

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.captures = self.launches = 0
        self.launch_result = CUresult.CUDA_SUCCESS
        self.begin_result = CUresult.CUDA_SUCCESS
        self.last_reason = ""

    def cuGetErrorString(self, error: int) -> tuple[CUresult, bytes]:  # noqa: N802
        return CUresult.CUDA_SUCCESS, self.last_reason.encode()

    def CUstream(self, handle: int) -> int:  # noqa: N802
        if handle not in self.cuda.streams:
            raise Misuse(f"no stream has the handle {handle}")
        return handle

    def cuStreamBeginCapture(self, handle: int, mode: CUstreamCaptureMode) -> tuple[CUresult]:  # noqa: N802
        self.cuda.enter("cuStreamBeginCapture")
        if self.begin_result != CUresult.CUDA_SUCCESS:
            return (self.begin_result,)
        stream = self.cuda.streams[handle]
        if stream.captured is not None:
            raise Misuse("a stream is captured twice at a time")
        stream.captured = []
        return (CUresult.CUDA_SUCCESS,)

    def cuStreamEndCapture(self, handle: int) -> tuple[Any, ...]:  # noqa: N802
        self.cuda.enter("cuStreamEndCapture")
        stream = self.cuda.streams[handle]
        if stream.captured is None:
            raise Misuse("a capture is ended that was not begun")
        captured, stream.captured = stream.captured, None
        if not captured:
            return CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, None
        self.captures += 1
        return CUresult.CUDA_SUCCESS, self._kept(Graph(captured))

    def cuGraphInstantiate(self, graph: Graph, flags: int) -> tuple[Any, ...]:  # noqa: N802
        self.cuda.enter("cuGraphInstantiate")
        return CUresult.CUDA_SUCCESS, self._kept(Executable(graph.launches, flags))

    def cuGraphLaunch(self, executable: Executable, handle: int) -> tuple[CUresult]:  # noqa: N802
        self.cuda.enter("cuGraphLaunch")
        if executable.is_destroyed:
            raise Misuse("a graph is launched after it was destroyed")
        if self.launch_result == CUresult.CUDA_SUCCESS:
            self.launches += 1
            for launch in executable.launches:
                launch()
        return (self.launch_result,)

    def cuGraphDestroy(self, graph: Graph) -> tuple[CUresult]:  # noqa: N802
        return self._destroy(graph)

    def cuGraphExecDestroy(self, executable: Executable) -> tuple[CUresult]:  # noqa: N802
        return self._destroy(executable)

    def _destroy(self, graph: Graph | Executable) -> tuple[CUresult]:
        self.cuda.enter("free")
        if graph.is_destroyed:
            raise Misuse("a graph is destroyed twice")
        graph.is_destroyed, graph.launches = True, []
        self.cuda.log.append("graph freed")
        return (CUresult.CUDA_SUCCESS,)

    def _kept(self, graph: Any) -> Any:
        self.cuda.graphs.append(graph)
        return graph
