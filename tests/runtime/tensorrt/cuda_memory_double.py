"""Memory of the GPU's double: every access is checked for its order, its bounds and its life."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tests.runtime.tensorrt.cuda_double import FakeCuda


class Misuse(BaseException):
    """The code under test broke a rule; not an Exception, so that it cannot be taken for an error of the device."""


class CudaError(Exception):
    """``pycuda.driver.Error``."""


class CudaMemoryError(CudaError):
    """``pycuda.driver.MemoryError``."""


class CudaLaunchError(CudaError):
    """``pycuda.driver.LaunchError``."""


@dataclass(eq=False)
class Operation:
    """Something queued on a stream."""

    name: str
    bit: int
    before: int
    run: Callable[[], None]
    duration_ms: float
    queued_ms: float
    after: list[Operation] = field(default_factory=list)
    is_done: bool = False
    start_ms: float = 0.0
    end_ms: float = 0.0

    @property
    def mask(self) -> int:
        return self.before | self.bit


class Memory:
    """Bytes on the device or pinned on the host, and who touches them."""

    def __init__(self, cuda: FakeCuda, nbytes: int, kind: str) -> None:
        self.cuda, self.nbytes, self.kind = cuda, nbytes, kind
        self.bytes = np.full(nbytes, 0xFF, np.uint8)  # NaN as a float
        self.is_valid = np.zeros(nbytes, bool)
        self.is_freed = False
        self.reads = self.writes = 0
        cuda.memory.append(self)

    def access(self, operation: Operation, nbytes: int, *, writes: bool) -> None:
        self.check_alive()
        if nbytes > self.nbytes:
            raise Misuse(f"{operation.name} touches {nbytes} bytes of {self.nbytes}")
        conflicts = self.writes | (self.reads if writes else 0)
        if conflicts & ~operation.before:
            raise Misuse(f"race: {operation.name} is not ordered after earlier use of the same {self.kind} memory")
        if writes:
            self.writes |= operation.bit
        else:
            self.reads |= operation.bit

    def read(self, nbytes: int) -> Any:
        self.check_alive()
        if not self.is_valid[:nbytes].all():
            raise Misuse(f"{self.kind} memory is read before anything was written to it")
        return self.bytes[:nbytes]

    def write(self, data: Any) -> None:
        self.check_alive()
        self.bytes[: data.nbytes] = data.reshape(-1).view(np.uint8)
        self.is_valid[: data.nbytes] = True

    def check_alive(self) -> None:
        if self.is_freed:
            raise Misuse(f"{self.kind} memory is used after it was freed")

    def free(self) -> None:
        self.cuda.enter("free")
        if self.is_freed:
            raise Misuse(f"{self.kind} memory is freed twice")
        if not self.cuda.is_lost and (self.reads | self.writes) & ~self.cuda.observed:
            raise Misuse(f"{self.kind} memory is freed while work is queued on it")
        if any(self in bound.bound_memory() for bound in self.cuda.bound):
            raise Misuse(f"{self.kind} memory is freed while an execution context is bound to it")
        self.is_freed = True
        self.cuda.log.append(f"free {self.kind}")


class DeviceAllocation(Memory):
    """``pycuda.driver.DeviceAllocation``."""

    def __init__(self, cuda: FakeCuda, nbytes: int) -> None:
        super().__init__(cuda, nbytes, "device")
        self.address = cuda.next_address
        cuda.next_address += nbytes + 256

    def __int__(self) -> int:
        return self.address


class PinnedArray(np.ndarray):  # type: ignore[type-arg]
    """An array in pinned memory; the host may touch it only when it has waited for what is queued on it."""

    allocation: Memory

    def __array_finalize__(self, parent: Any) -> None:
        if isinstance(parent, PinnedArray):
            self.allocation = parent.allocation

    @property
    def base(self) -> Any:  # type: ignore[override]
        return self.allocation

    def __setitem__(self, key: Any, value: Any) -> None:
        cuda = self.allocation.cuda
        if (self.allocation.reads | self.allocation.writes) & ~cuda.observed:
            raise Misuse("the host writes to pinned memory while work is queued on it")
        self.allocation.check_alive()
        super().__setitem__(key, value)
        written = np.asarray(self)[key]
        first = written.ctypes.data - self.allocation.bytes.ctypes.data
        self.allocation.is_valid[first : first + written.nbytes] = True

    def copy(self, order: Any = "C") -> Any:
        if self.allocation.writes & ~self.allocation.cuda.observed:
            raise Misuse("pinned memory is read before the copy into it was waited for")
        self.allocation.check_alive()
        return np.array(self, order=order, subok=False)
