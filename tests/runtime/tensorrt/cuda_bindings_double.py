"""A strict double of ``cuda.bindings.driver``, on the same GPU in memory as the double of pycuda."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from typing import Any

from tests.runtime.tensorrt.cuda_double import FakeCuda
from tests.runtime.tensorrt.cuda_memory_double import CudaError, CudaMemoryError, Memory, Misuse, PinnedArray
from tests.runtime.tensorrt.cuda_stream_double import Event, PrimaryContext, Stream
from tests.runtime.tensorrt.graph_double import CUresult, FakeGraphApi


class CUdevice_attribute(enum.IntEnum):  # noqa: N801
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


def _answering(call: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """The value of a call as an answer with a result code; an error of the device becomes such a code."""

    @functools.wraps(call)
    def answer(self: FakeCudaBindings, *arguments: Any) -> tuple[Any, ...]:
        try:
            value = call(self, *arguments)
        except CudaError as error:
            self.last_reason = str(error).partition("failed: ")[2]
            error.__traceback__ = None  # a result code keeps no stream alive
            is_memory = isinstance(error, CudaMemoryError)
            return (CUresult.CUDA_ERROR_OUT_OF_MEMORY if is_memory else CUresult.CUDA_ERROR_LAUNCH_FAILED, None)
        if value is None:
            return (CUresult.CUDA_SUCCESS,)
        return CUresult.CUDA_SUCCESS, *(value if isinstance(value, tuple) else (value,))

    return answer


class FakeCudaBindings(FakeGraphApi):
    """What ``import cuda.bindings.driver`` gives."""

    CUdevice_attribute = CUdevice_attribute

    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__(cuda)
        self._streams: dict[int, Stream] = {}
        self._events: dict[int, Event] = {}
        self._pinned: dict[int, PinnedArray] = {}
        self._contexts: list[PrimaryContext] = []

    @_answering
    def cuInit(self, flags: int) -> None:  # noqa: N802
        self.cuda.init()

    @_answering
    def cuDeviceGetCount(self) -> int:  # noqa: N802
        return self.cuda.device_count

    @_answering
    def cuDeviceGet(self, index: int) -> int:  # noqa: N802
        return index

    @_answering
    def cuDeviceGetName(self, length: int, device: int) -> bytes:  # noqa: N802
        return self.cuda.name.encode().ljust(length, b"\0")[:length]

    @_answering
    def cuDeviceGetAttribute(self, kind: CUdevice_attribute, device: int) -> int:  # noqa: N802
        return self.cuda.capability[kind - CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR]

    @_answering
    def cuDevicePrimaryCtxRetain(self, device: int) -> PrimaryContext:  # noqa: N802
        self._contexts.append(self.cuda.Device(device).retain_primary_context())
        return self._contexts[-1]

    @_answering
    def cuDevicePrimaryCtxRelease(self, device: int) -> None:  # noqa: N802
        self._contexts.pop().detach()

    @_answering
    def cuCtxPushCurrent(self, context: PrimaryContext) -> None:  # noqa: N802
        context.push()

    @_answering
    def cuCtxPopCurrent(self) -> PrimaryContext:  # noqa: N802
        context = self.cuda.stack()[-1] if self.cuda.stack() else None
        self.cuda.pop_context()
        assert context is not None
        return context

    @_answering
    def cuMemGetInfo(self) -> tuple[int, int]:  # noqa: N802
        return self.cuda.mem_get_info()

    @_answering
    def cuStreamCreate(self, flags: int) -> int:  # noqa: N802
        stream = self.cuda.Stream()
        self._streams[stream.handle] = stream
        return stream.handle

    @_answering
    def cuStreamSynchronize(self, handle: int) -> None:  # noqa: N802
        self._streams[handle].synchronize()

    @_answering
    def cuStreamWaitEvent(self, handle: int, event: int, flags: int) -> None:  # noqa: N802
        self._streams[handle].wait_for_event(self._events[event])

    @_answering
    def cuStreamDestroy(self, handle: int) -> None:  # noqa: N802
        del self._streams[handle]

    @_answering
    def cuEventCreate(self, flags: int) -> int:  # noqa: N802
        event = self.cuda.Event()
        self._events[id(event)] = event
        return id(event)

    @_answering
    def cuEventRecord(self, event: int, handle: int) -> None:  # noqa: N802
        self._events[event].record(self._streams[handle])

    @_answering
    def cuEventSynchronize(self, event: int) -> None:  # noqa: N802
        self._events[event].synchronize()

    @_answering
    def cuEventElapsedTime(self, start: int, end: int) -> float:  # noqa: N802
        return self._events[end].time_since(self._events[start])

    @_answering
    def cuEventDestroy(self, event: int) -> None:  # noqa: N802
        del self._events[event]

    @_answering
    def cuMemAlloc(self, nbytes: int) -> int:  # noqa: N802
        return self.cuda.mem_alloc(nbytes).address

    @_answering
    def cuMemFree(self, address: int) -> None:  # noqa: N802
        self.cuda.allocation_at(address).free()

    @_answering
    def cuMemHostAlloc(self, nbytes: int, flags: int) -> int:  # noqa: N802
        array = self.cuda.pagelocked_empty((nbytes,), "uint8")
        address = array.allocation.bytes.ctypes.data
        self._pinned[address] = array
        return address

    @_answering
    def cuMemFreeHost(self, address: int) -> None:  # noqa: N802
        self._pinned_at(address).free()

    @_answering
    def cuMemcpyHtoDAsync(self, to: int, source: int, nbytes: int, handle: int) -> None:  # noqa: N802
        memory = self._pinned_at(source)
        memory.is_valid[:nbytes] = True  # the host writes to it unseen
        self.cuda.memcpy_htod_async(self.cuda.allocation_at(to), self._part(source, nbytes), self._streams[handle])

    @_answering
    def cuMemcpyDtoHAsync(self, to: int, source: int, nbytes: int, handle: int) -> None:  # noqa: N802
        self.cuda.memcpy_dtoh_async(self._part(to, nbytes), self.cuda.allocation_at(source), self._streams[handle])

    @_answering
    def cuMemcpyDtoDAsync(self, to: int, source: int, nbytes: int, handle: int) -> None:  # noqa: N802
        self.cuda.memcpy_dtod_async(to, source, nbytes, self._streams[handle])

    @_answering
    def cuMemsetD8Async(self, to: int, value: int, nbytes: int, handle: int) -> None:  # noqa: N802
        self.cuda.memset_d8_async(to, value, nbytes, self._streams[handle])

    def _part(self, address: int, nbytes: int) -> Any:
        self._pinned_at(address)
        return self._pinned[address][:nbytes]

    def _pinned_at(self, address: int) -> Memory:
        if address not in self._pinned:
            raise Misuse(f"no pinned memory was allocated at {address:#x}")
        return self._pinned[address].allocation
