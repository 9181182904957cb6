"""What edge-ad uses of CUDA, as one interface that each Python package for it fulfils."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from numpy.typing import DTypeLike, NDArray

__all__ = [
    "DEVICE_INDEX",
    "CudaDriver",
    "CudaEvent",
    "CudaStream",
    "DeviceMemory",
    "PinnedMemory",
]

DEVICE_INDEX = 0
"""The device that is used; ``CUDA_VISIBLE_DEVICES`` puts another one there."""


class CudaEvent(Protocol):
    """A point on a stream. It is destroyed with its last reference, on a thread that has the context."""

    def record(self, stream: Any) -> object:
        """Queue it on a stream."""

    def synchronize(self) -> object:
        """Wait until it has happened."""

    def time_since(self, other: Any) -> float:
        """Milliseconds since another event; both must have happened."""


class CudaStream(Protocol):
    """Work that the device does in order. It is destroyed with its last reference, on a thread that has the context."""

    @property
    def handle(self) -> int:
        """Raw handle, as TensorRT takes it."""

    def synchronize(self) -> None:
        """Wait until all that is queued on it is done."""

    def wait_for_event(self, event: Any) -> None:
        """Let what is queued from now on wait for an event."""


class DeviceMemory(Protocol):
    """Bytes on the device; ``int()`` gives the address."""

    def __int__(self) -> int: ...

    def free(self) -> None:
        """Give them back; nothing may be queued on them."""


@dataclass(frozen=True)
class PinnedMemory:
    """Host memory that the device copies from and to by itself.

    Attributes:
        array: The memory, with the shape and type that were asked for.
        free: Gives it back; the array must not be used afterwards.
    """

    array: NDArray[Any]
    free: Callable[[], None]


class CudaDriver(ABC):
    """A Python package for CUDA's driver interface, on the device `DEVICE_INDEX`.

    Attributes:
        name: Name of the package.
        version: Its version.
        error: Base class of what its calls raise.
        memory_error: What they raise where memory is short; a call after it may succeed.
    """

    name: ClassVar[str]
    version: str
    error: type[Exception]
    memory_error: type[Exception]

    @abstractmethod
    def initialise(self) -> None:
        """Start the driver interface, before anything else is called.

        Raises:
            Exception: The driver does not answer; it is of `error`'s class.
        """

    @abstractmethod
    def count_devices(self) -> int:
        """Number of devices."""

    @abstractmethod
    def device_name(self) -> str:
        """Name of the device, such as ``"Orin"``."""

    @abstractmethod
    def compute_capability(self) -> tuple[int, int]:
        """Major and minor compute capability of the device, such as ``(8, 7)``."""

    @abstractmethod
    def current_context(self) -> AbstractContextManager[None]:
        """Makes the device's primary context current on the calling thread, and gives it back at the end."""

    @abstractmethod
    def memory_info(self) -> tuple[int, int]:
        """Free and total memory of the device, in bytes; needs the context."""

    @abstractmethod
    def make_stream(self) -> CudaStream:
        """A new stream; needs the context."""

    @abstractmethod
    def make_event(self) -> CudaEvent:
        """A new event that takes the time; needs the context."""

    @abstractmethod
    def allocate(self, nbytes: int) -> DeviceMemory:
        """Device memory; needs the context."""

    @abstractmethod
    def allocate_pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> PinnedMemory:
        """Pinned host memory; needs the context."""

    @abstractmethod
    def upload(self, to: DeviceMemory, source: NDArray[Any], stream: CudaStream) -> None:
        """Queue a copy of contiguous pinned memory to the device."""

    @abstractmethod
    def download(self, to: NDArray[Any], source: DeviceMemory, stream: CudaStream) -> None:
        """Queue a copy from the device to contiguous pinned memory."""

    @abstractmethod
    def copy(self, to: int, source: int, nbytes: int, stream: CudaStream) -> None:
        """Queue a copy between two addresses of the device."""

    @abstractmethod
    def fill(self, to: int, value: int, nbytes: int, stream: CudaStream) -> None:
        """Queue the setting of bytes at an address of the device to a value from 0 to 255."""
