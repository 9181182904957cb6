"""A strict double of ``pycuda.driver``: a GPU in memory that fails on any misuse.

Work is deferred: nothing runs before the host waits for it, and then only what was waited for. Every operation knows
which operations happen before it, by its stream, by events and by what the host has waited for; two accesses to the
same memory of which one writes, and which are not so ordered, are a race and fail at once, whatever the timing would
have been.
A clock of its own runs per stream, so that overlap can be seen.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.runtime.tensorrt.cuda_memory_double import (
    CudaError,
    CudaLaunchError,
    CudaMemoryError,
    DeviceAllocation,
    Memory,
    Misuse,
    Operation,
    PinnedArray,
)
from tests.runtime.tensorrt.cuda_stream_double import Event, PrimaryContext, Stream

MEMORY_BYTES = 1 << 30
UPLOAD_MS, COMPUTE_MS, DOWNLOAD_MS, DEVICE_COPY_MS = 2.0, 5.0, 1.0, 0.0


class FakeCuda:
    """The GPU, and what ``import pycuda.driver`` gives."""

    Error, MemoryError, LaunchError = CudaError, CudaMemoryError, CudaLaunchError

    def __init__(self, *, name: str = "Test GPU", capability: tuple[int, int] = (8, 7), count: int = 1) -> None:
        self.name, self.capability, self.device_count = name, capability, count
        self.memory: list[Memory] = []
        self.streams: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()
        self.events: weakref.WeakSet[Event] = weakref.WeakSet()
        self.bound: weakref.WeakSet[Any] = weakref.WeakSet()
        self.graphs: list[Any] = []
        self.next_address, self.next_handle, self.next_bit = 0x7000_0000, 0x100, 0
        self.observed = 0
        self.now_ms = 0.0
        self.retained = 0
        self.stacks: dict[int, list[PrimaryContext]] = {}
        self.history: list[Operation] = []
        self.log: list[str] = []
        self.misuses: list[str] = []
        self.failures: dict[str, tuple[int, CudaError]] = {}
        self.is_lost = False
        self.is_hanging = threading.Event()
        self.hang: threading.Event | None = None
        double = self

        class Device:
            def __init__(self, index: int) -> None:
                assert index == 0

            @staticmethod
            def count() -> int:
                return double.device_count

            def name(self) -> str:
                return double.name

            def compute_capability(self) -> tuple[int, int]:
                return double.capability

            def retain_primary_context(self) -> PrimaryContext:
                double.fail_if_asked("retain_primary_context")
                return PrimaryContext(double)

        class Context:
            @staticmethod
            def pop() -> None:
                double.pop_context()

        self.Device, self.Context = Device, Context

    def init(self) -> None:
        self.fail_if_asked("init")

    # What pycuda.driver offers.

    def Stream(self) -> Stream:  # noqa: N802
        return Stream(self)

    def Event(self) -> Event:  # noqa: N802
        event = Event(self)
        self.events.add(event)
        return event

    def mem_alloc(self, nbytes: int) -> DeviceAllocation:
        self.enter("mem_alloc")
        return DeviceAllocation(self, nbytes)

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: Any) -> PinnedArray:
        self.enter("pagelocked_empty")
        memory = Memory(self, int(np.prod(shape)) * np.dtype(dtype).itemsize, "pinned")
        array: PinnedArray = np.ndarray.__new__(PinnedArray, shape, dtype, memory.bytes)
        array.allocation = memory
        return array

    def memcpy_htod_async(self, device: DeviceAllocation, host: Any, stream: Stream) -> None:
        self.enter("memcpy_htod_async")
        memory = self._pinned(host)
        operation = stream.put("upload", lambda: device.write(memory.read(host.nbytes)), UPLOAD_MS)
        memory.access(operation, host.nbytes, writes=False)
        device.access(operation, host.nbytes, writes=True)

    def memcpy_dtoh_async(self, host: Any, device: DeviceAllocation, stream: Stream) -> None:
        self.enter("memcpy_dtoh_async")
        memory = self._pinned(host)
        operation = stream.put("download", lambda: memory.write(device.read(host.nbytes)), DOWNLOAD_MS)
        device.access(operation, host.nbytes, writes=False)
        memory.access(operation, host.nbytes, writes=True)

    def memcpy_dtod_async(self, to: int, source: int, nbytes: int, stream: Stream) -> None:
        self.enter("memcpy_dtod_async")
        written, read = self.allocation_at(to), self.allocation_at(source)

        def queue() -> None:
            operation = self.queue(stream, "device copy", lambda: written.write(read.read(nbytes)), DEVICE_COPY_MS)
            read.access(operation, nbytes, writes=False)
            written.access(operation, nbytes, writes=True)

        stream.put_or_capture(queue)

    def memset_d8_async(self, to: int, value: int, nbytes: int, stream: Stream) -> None:
        self.enter("memset_d8_async")
        written = self.allocation_at(to)

        def queue() -> None:
            content = np.full(nbytes, value, np.uint8)
            operation = self.queue(stream, "fill", lambda: written.write(content), DEVICE_COPY_MS)
            written.access(operation, nbytes, writes=True)

        stream.put_or_capture(queue)

    def mem_get_info(self) -> tuple[int, int]:
        self.enter("mem_get_info")
        used = sum(memory.nbytes for memory in self.memory if memory.kind == "device" and not memory.is_freed)
        return MEMORY_BYTES - used, MEMORY_BYTES

    # What the doubles use.

    def stack(self) -> list[PrimaryContext]:
        return self.stacks.setdefault(threading.get_ident(), [])

    def pop_context(self) -> None:
        if not self.stack():
            raise Misuse("a context is popped on a thread that has none")
        self.stack().pop()

    def has_context(self) -> bool:
        return bool(self.stack())

    def enter(self, call: str) -> None:
        """Every call: the thread must have the context, and the device may fail."""
        if not self.has_context():
            raise Misuse(f"{call} on a thread without the context")
        self.fail_if_asked(call)
        if self.is_lost and call != "free":  # pycuda prints what goes wrong when it frees, and goes on
            raise CudaLaunchError(f"{call} failed: unspecified launch failure")

    def fail_if_asked(self, call: str) -> None:
        if call not in self.failures:
            return
        calls_left, error = self.failures.pop(call)
        if calls_left:
            self.failures[call] = calls_left - 1, error
            return
        self.is_lost = isinstance(error, CudaLaunchError)
        raise error

    def fail_on(self, call: str, nth: int, error: CudaError) -> None:
        """Let the n-th call from now fail, counted from 0; a launch error loses the device for good."""
        self.failures[call] = nth, error

    def queue(self, stream: Stream, name: str, run: Callable[[], None], duration_ms: float) -> Operation:
        bit = 1 << self.next_bit
        self.next_bit += 1
        operation = Operation(name, bit, stream.mask | self.observed, run, duration_ms, self.now_ms)
        stream.mask |= bit
        stream.queue.append(operation)
        self.history.append(operation)
        return operation

    def wait_for(self, operation: Operation) -> None:
        if self.hang is not None:
            self.is_hanging.set()
            self.hang.wait(60)
        self._run(operation)
        self.now_ms = max(self.now_ms, operation.end_ms)
        self.observed |= operation.mask

    def allocation_at(self, address: int) -> DeviceAllocation:
        for memory in self.memory:
            if isinstance(memory, DeviceAllocation) and memory.address == address:
                return memory
        raise Misuse(f"no memory was allocated at {address:#x}")

    def alive(self) -> dict[str, int]:
        """What has not been freed."""
        counts = {
            "allocations": sum(not memory.is_freed for memory in self.memory),
            "streams": len(self.streams),
            "events": len(self.events),
            "execution contexts": len(self.bound),
            "graphs": sum(not graph.is_destroyed for graph in self.graphs),
        }
        return {name: count for name, count in counts.items() if count}

    def verify(self) -> None:
        """Nothing is left, and nothing went wrong where it could not be raised."""
        assert self.misuses == []
        assert self.alive() == {}
        assert self.retained == 0
        assert not any(self.stacks.values())

    def _pinned(self, host: Any) -> Memory:
        if not isinstance(host, PinnedArray):
            raise Misuse("an asynchronous copy of memory that is not pinned")
        if not host.flags.c_contiguous:
            raise Misuse("a copy of memory that is not contiguous")
        return host.allocation

    def _run(self, operation: Operation) -> None:
        stream = next(stream for stream in self.streams.values() if operation in stream.queue)
        for queued in stream.queue[: stream.queue.index(operation) + 1]:
            if queued.is_done:
                continue
            for earlier in queued.after:
                self._run(earlier)
            ready_ms = max([queued.queued_ms, stream.clock_ms, *(earlier.end_ms for earlier in queued.after)])
            queued.start_ms, queued.end_ms = ready_ms, ready_ms + queued.duration_ms
            stream.clock_ms = queued.end_ms
            queued.run()
            queued.is_done = True
