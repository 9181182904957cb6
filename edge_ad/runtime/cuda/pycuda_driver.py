"""CUDA through pycuda."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from numpy.typing import DTypeLike, NDArray

from edge_ad.runtime.cuda.driver import (
    DEVICE_INDEX,
    CudaDriver,
    CudaEvent,
    CudaStream,
    DeviceMemory,
    PinnedMemory,
)

__all__ = ["PycudaDriver"]


class PycudaDriver(CudaDriver):
    """``pycuda.driver``, whose streams, events and allocations are used as they are.

    Raises:
        ImportError: pycuda is not installed, or does not load.
    """

    name = "pycuda"

    def __init__(self) -> None:
        self._api: Any = importlib.import_module("pycuda.driver")
        self.version = str(getattr(importlib.import_module("pycuda"), "VERSION_TEXT", ""))
        self.error, self.memory_error = self._api.Error, self._api.MemoryError

    def initialise(self) -> None:
        """Start the driver interface."""
        self._api.init()

    def count_devices(self) -> int:
        """Number of devices."""
        return int(self._api.Device.count())

    def device_name(self) -> str:
        """Name of the device."""
        return str(self._device().name())

    def compute_capability(self) -> tuple[int, int]:
        """Major and minor compute capability of the device."""
        major, minor = self._device().compute_capability()
        return int(major), int(minor)

    def current_context(self) -> AbstractContextManager[None]:
        """Makes the device's primary context current on the calling thread."""
        return self._context()

    def memory_info(self) -> tuple[int, int]:
        """Free and total memory of the device, in bytes."""
        free, total = self._api.mem_get_info()
        return int(free), int(total)

    def make_stream(self) -> CudaStream:
        """A new stream."""
        stream: CudaStream = self._api.Stream()
        return stream

    def make_event(self) -> CudaEvent:
        """A new event that takes the time."""
        event: CudaEvent = self._api.Event()
        return event

    def allocate(self, nbytes: int) -> DeviceMemory:
        """Device memory."""
        memory: DeviceMemory = self._api.mem_alloc(nbytes)
        return memory

    def allocate_pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> PinnedMemory:
        """Pinned host memory."""
        array = self._api.pagelocked_empty(shape, dtype)
        return PinnedMemory(array, array.base.free)

    def upload(self, to: DeviceMemory, source: NDArray[Any], stream: CudaStream) -> None:
        """Queue a copy of pinned memory to the device."""
        self._api.memcpy_htod_async(to, source, stream)

    def download(self, to: NDArray[Any], source: DeviceMemory, stream: CudaStream) -> None:
        """Queue a copy from the device to pinned memory."""
        self._api.memcpy_dtoh_async(to, source, stream)

    def copy(self, to: int, source: int, nbytes: int, stream: CudaStream) -> None:
        """Queue a copy between two addresses of the device."""
        self._api.memcpy_dtod_async(to, source, nbytes, stream)

    def fill(self, to: int, value: int, nbytes: int, stream: CudaStream) -> None:
        """Queue the setting of bytes at an address of the device."""
        self._api.memset_d8_async(to, value, nbytes, stream)

    def _device(self) -> Any:
        return self._api.Device(DEVICE_INDEX)

    @contextmanager
    def _context(self) -> Iterator[None]:
        context = self._device().retain_primary_context()
        try:
            context.push()
            try:
                yield
            finally:
                self._api.Context.pop()
        finally:
            context.detach()
