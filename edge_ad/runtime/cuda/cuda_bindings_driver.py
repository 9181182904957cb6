"""CUDA through NVIDIA's cuda-bindings."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge_ad.runtime.cuda.calls import CudaCallError, CudaCalls, CudaMemoryError
from edge_ad.runtime.cuda.driver import (
    DEVICE_INDEX,
    CudaDriver,
    CudaEvent,
    CudaStream,
    DeviceMemory,
    PinnedMemory,
)

__all__ = ["CudaBindingsDriver"]

_NAME_LENGTH = 256


class _Stream:
    def __init__(self, calls: CudaCalls) -> None:
        self._calls = calls
        self._stream: Any = None
        self._stream = calls.cuStreamCreate(0)
        self.handle = int(self._stream)

    def synchronize(self) -> None:
        self._calls.cuStreamSynchronize(self._stream)

    def wait_for_event(self, event: _Event) -> None:
        self._calls.cuStreamWaitEvent(self._stream, event.event, 0)

    def __del__(self) -> None:
        if self._stream is not None:
            with suppress(Exception):  # on a lost device; nobody could catch it here
                self._calls.cuStreamDestroy(self._stream)


class _Event:
    def __init__(self, calls: CudaCalls) -> None:
        self._calls = calls
        self.event: Any = None
        self.event = calls.cuEventCreate(0)

    def record(self, stream: _Stream) -> None:
        self._calls.cuEventRecord(self.event, stream.handle)

    def synchronize(self) -> None:
        self._calls.cuEventSynchronize(self.event)

    def time_since(self, other: _Event) -> float:
        return float(self._calls.cuEventElapsedTime(other.event, self.event))

    def __del__(self) -> None:
        if self.event is not None:
            with suppress(Exception):
                self._calls.cuEventDestroy(self.event)


class _DeviceMemory:
    def __init__(self, calls: CudaCalls, nbytes: int) -> None:
        self._calls = calls
        self._address = int(calls.cuMemAlloc(nbytes))

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._calls.cuMemFree(self._address)


class CudaBindingsDriver(CudaDriver):
    """``cuda.bindings.driver`` of the package cuda-bindings, which is installed as wheels and captures graphs too.

    Raises:
        ImportError: cuda-bindings is not installed, or does not load.
    """

    name = "cuda-bindings"
    error = CudaCallError
    memory_error = CudaMemoryError

    def __init__(self) -> None:
        self._api: Any = importlib.import_module("cuda.bindings.driver")
        self.version = str(getattr(importlib.import_module("cuda.bindings"), "__version__", ""))
        self._calls = CudaCalls(self._api)

    def initialise(self) -> None:
        """Start the driver interface."""
        self._calls.cuInit(0)

    def count_devices(self) -> int:
        """Number of devices."""
        return int(self._calls.cuDeviceGetCount())

    def device_name(self) -> str:
        """Name of the device."""
        name: bytes = self._calls.cuDeviceGetName(_NAME_LENGTH, self._device())
        return name.rstrip(b"\0").decode(errors="replace")

    def compute_capability(self) -> tuple[int, int]:
        """Major and minor compute capability of the device."""
        kinds, device = self._api.CUdevice_attribute, self._device()
        major = self._calls.cuDeviceGetAttribute(kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
        minor = self._calls.cuDeviceGetAttribute(kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)
        return int(major), int(minor)

    def current_context(self) -> AbstractContextManager[None]:
        """Makes the device's primary context current on the calling thread."""
        return self._context()

    def memory_info(self) -> tuple[int, int]:
        """Free and total memory of the device, in bytes."""
        free, total = self._calls.cuMemGetInfo()
        return int(free), int(total)

    def make_stream(self) -> CudaStream:
        """A new stream."""
        return _Stream(self._calls)

    def make_event(self) -> CudaEvent:
        """A new event that takes the time."""
        return _Event(self._calls)

    def allocate(self, nbytes: int) -> DeviceMemory:
        """Device memory."""
        return _DeviceMemory(self._calls, nbytes)

    def allocate_pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> PinnedMemory:
        """Pinned host memory."""
        kind = np.dtype(dtype)
        nbytes = int(np.prod(shape)) * kind.itemsize
        address = int(self._calls.cuMemHostAlloc(nbytes, 0))
        content = memoryview((ctypes.c_ubyte * nbytes).from_address(address))
        return PinnedMemory(np.frombuffer(content, kind).reshape(shape), partial(self._calls.cuMemFreeHost, address))

    def upload(self, to: DeviceMemory, source: NDArray[Any], stream: CudaStream) -> None:
        """Queue a copy of pinned memory to the device."""
        self._calls.cuMemcpyHtoDAsync(int(to), source.ctypes.data, source.nbytes, stream.handle)

    def download(self, to: NDArray[Any], source: DeviceMemory, stream: CudaStream) -> None:
        """Queue a copy from the device to pinned memory."""
        self._calls.cuMemcpyDtoHAsync(to.ctypes.data, int(source), to.nbytes, stream.handle)

    def copy(self, to: int, source: int, nbytes: int, stream: CudaStream) -> None:
        """Queue a copy between two addresses of the device."""
        self._calls.cuMemcpyDtoDAsync(to, source, nbytes, stream.handle)

    def fill(self, to: int, value: int, nbytes: int, stream: CudaStream) -> None:
        """Queue the setting of bytes at an address of the device."""
        self._calls.cuMemsetD8Async(to, value, nbytes, stream.handle)

    def _device(self) -> Any:
        return self._calls.cuDeviceGet(DEVICE_INDEX)

    @contextmanager
    def _context(self) -> Iterator[None]:
        device = self._device()
        context = self._calls.cuDevicePrimaryCtxRetain(device)
        try:
            self._calls.cuCtxPushCurrent(context)
            try:
                yield
            finally:
                self._calls.cuCtxPopCurrent()
        finally:
            self._calls.cuDevicePrimaryCtxRelease(device)
