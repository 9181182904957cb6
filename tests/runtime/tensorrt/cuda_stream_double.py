"""Streams, events and contexts of the GPU's double."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.runtime.tensorrt.cuda_memory_double import Misuse, Operation

if TYPE_CHECKING:
    from tests.runtime.tensorrt.cuda_double import FakeCuda


class Stream:
    """``pycuda.driver.Stream``."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.queue: list[Operation] = []
        cuda.enter("Stream")
        self.handle = cuda.next_handle
        cuda.next_handle += 16
        self.mask = 0
        self.clock_ms = 0.0
        self.captured: list[Callable[[], None]] | None = None
        cuda.streams[self.handle] = self

    def put(self, name: str, run: Callable[[], None] = lambda: None, duration_ms: float = 0.0) -> Operation:
        if self.captured is not None:
            raise Misuse(f"{name} on a stream that is being captured")
        return self.cuda.queue(self, name, run, duration_ms)

    def put_or_capture(self, queue: Callable[[], None]) -> None:
        """Queue now, or at each launch of the graph that is being captured."""
        if self.captured is None:
            queue()
        else:
            self.captured.append(queue)

    def wait_for_event(self, event: Event) -> None:
        self.cuda.enter("wait_for_event")
        recorded = event.recorded()
        operation = self.put("wait")
        operation.after.append(recorded)
        operation.before |= recorded.mask
        self.mask |= recorded.mask

    def synchronize(self) -> None:
        self.cuda.enter("synchronize")
        if self.captured is not None:
            raise Misuse("a stream is waited for while it is being captured")
        if self.queue:
            self.cuda.wait_for(self.queue[-1])
        self.cuda.observed |= self.mask

    def __del__(self) -> None:
        if not self.cuda.is_lost and any(not operation.is_done for operation in self.queue):
            self.cuda.misuses.append("a stream is destroyed while work is queued on it")
        if not self.cuda.has_context():
            self.cuda.misuses.append("a stream is destroyed on a thread without the context")


class Event:
    """``pycuda.driver.Event``."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        cuda.enter("Event")
        self._operation: Operation | None = None

    def record(self, stream: Stream) -> Event:
        self.cuda.enter("record")
        self._operation = stream.put("record")
        return self

    def recorded(self) -> Operation:
        if self._operation is None:
            raise Misuse("an event is waited for that was never recorded")
        return self._operation

    def synchronize(self) -> Event:
        self.cuda.enter("synchronize")
        self.cuda.wait_for(self.recorded())
        return self

    def time_since(self, other: Event) -> float:
        self.cuda.enter("time_since")
        start, end = other.recorded(), self.recorded()
        if (start.mask | end.mask) & ~self.cuda.observed:
            raise Misuse("the time of an event is read before it was waited for")
        return end.end_ms - start.end_ms

    def __del__(self) -> None:
        if not self.cuda.has_context():
            self.cuda.misuses.append("an event is destroyed on a thread without the context")


class PrimaryContext:
    """``pycuda.driver.Context`` as ``retain_primary_context`` gives it."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.thread, self.is_valid = cuda, threading.get_ident(), True
        cuda.retained += 1

    def push(self) -> None:
        self.cuda.fail_if_asked("push")
        self.cuda.stack().append(self)

    def detach(self) -> None:
        if threading.get_ident() != self.thread:
            raise Misuse("a context is detached on another thread than its own")
        if self in self.cuda.stack():
            raise Misuse("a context is detached while it is still pushed")
        if not self.is_valid:
            raise Misuse("a context is detached twice")
        alive = self.cuda.alive()
        if alive:
            raise Misuse(f"a context is detached while these live: {alive}")
        self.is_valid = False
        self.cuda.retained -= 1
