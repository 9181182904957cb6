"""Simulated samples for training, painted ahead by processes of their own."""

from __future__ import annotations

import ctypes
import itertools
import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.simulated_defects import Simulator
from edge_ad.errors import EdgeAdError

__all__ = ["BatchMemory", "BatchOrder", "SampleFeed", "SampleWorker", "Samples"]

# A forked child would inherit the locks of torch's threads; a spawned one starts clean.
# Ctrl-C and a terminal that closes reach every process that was started from it.
_TO_ALL = {getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)}
_SPAWN = multiprocessing.get_context("spawn")
_SECONDS_TO_END = 5.0

Key = tuple[int, ...]
Shape = tuple[int, ...]
_BATCHES_PER_WORKER = 2  # one is painted while another waits to be taken


class BatchMemory(NamedTuple):
    """Room for a batch: good and defective images, uint8 (N, h, w, 3), and masks, bool (N, h, w)."""

    good: NDArray[np.uint8]
    defective: NDArray[np.uint8]
    masks: NDArray[np.bool_]

    @classmethod
    def empty(cls, shape: Shape) -> BatchMemory:
        """Room in this process, for images of shape (N, h, w, 3)."""
        return cls.over(np.empty(_bytes_of(shape), np.uint8), shape)

    @classmethod
    def over(cls, memory: Any, shape: Shape) -> BatchMemory:
        """Room in a buffer of enough bytes."""
        pixels = int(np.prod(shape))
        flat = np.frombuffer(memory, np.uint8)
        masks = flat[2 * pixels : _bytes_of(shape)].view(np.bool_).reshape(shape[:3])
        return cls(flat[:pixels].reshape(shape), flat[pixels : 2 * pixels].reshape(shape), masks)

    def paint(self, simulator: Simulator, keys: Sequence[Key]) -> None:
        """Replace the first good images by samples of them."""
        for index, key in enumerate(keys):
            sample = simulator.sample(self.good[index], key)
            self.defective[index], self.masks[index] = sample.defective, sample.mask
            self.good[index] = sample.good  # last: the sample may be the image itself


class SampleWorker:
    """A process with room for a few batches, which it paints in the order in which they were asked for.

    Args:
        simulator: Paints; sent to the process.
        shape: Of the images of the largest batch, (N, h, w, 3).
        batches: Batches that may be under way at a time.
    """

    def __init__(self, simulator: Simulator, shape: Shape, batches: int) -> None:
        memory = [_SPAWN.RawArray(ctypes.c_uint8, _bytes_of(shape)) for _ in range(batches)]
        self._memory = [BatchMemory.over(part, shape) for part in memory]
        self._counts: list[int] = []
        self._ordered = self._received = 0
        self._connection, self._other_end = _SPAWN.Pipe()
        arguments = (self._other_end, simulator, memory, shape)
        self._process: SpawnProcess = _SPAWN.Process(target=_work, args=arguments, name="simulation", daemon=True)

    def start(self) -> None:
        """Start the process."""
        with _interrupts_held_back():
            self._process.start()
        self._other_end.close()  # so that the worker's end is noticed

    def order(self, images: NDArray[np.uint8], keys: list[Key]) -> None:
        """Ask for a batch; there must be room."""
        slot = self._ordered % len(self._memory)
        self._memory[slot].good[: len(images)] = images
        self._counts.append(len(images))
        self._ordered += 1
        try:
            self._connection.send((slot, keys))
        except OSError as error:
            raise self._ended() from error

    def receive(self) -> tuple[BatchMemory, int]:
        """Wait for the batch that was asked for first: its memory, to be read before the next order, and its size."""
        wait([self._connection, self._process.sentinel])
        try:
            failure = self._connection.recv() if self._connection.poll() else self._ended()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if failure is not None:
            raise failure
        self._received += 1
        return self._memory[(self._received - 1) % len(self._memory)], self._counts.pop(0)

    def stop(self) -> None:
        """End the process."""
        self._connection.close()
        self._other_end.close()
        if self._process.pid is None:
            return
        self._process.terminate()
        self._process.join(_SECONDS_TO_END)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def _ended(self) -> EdgeAdError:
        self._process.join(_SECONDS_TO_END)
        return EdgeAdError(
            f"A process that simulates defects ended (exit code {self._process.exitcode}).",
            "Go on with the run; --workers 0 does without such processes.",
        )


def _bytes_of(shape: Shape) -> int:
    return 2 * int(np.prod(shape)) + int(np.prod(shape[:3]))


def _work(connection: Connection, simulator: Simulator, memory: Sequence[Any], shape: Shape) -> None:
    """Paint until the other end is closed, as it is too when the training is killed."""
    import cv2

    for number in _TO_ALL:
        signal.signal(number, signal.SIG_IGN)  # the training ends this process
    cv2.setNumThreads(1)
    slots = [BatchMemory.over(part, shape) for part in memory]
    with suppress(EOFError, OSError):
        while True:
            slot, keys = connection.recv()
            connection.send(_failure(slots[slot], simulator, keys))


def _failure(batch: BatchMemory, simulator: Simulator, keys: Sequence[Key]) -> EdgeAdError | None:
    """Paint a batch; the failure, if any, to be raised where the user sees it."""
    try:
        batch.paint(simulator, keys)
    except EdgeAdError as error:
        return error
    except Exception as error:  # whatever it is, it must reach the training
        return EdgeAdError(f"Simulating defects failed ({type(error).__name__}: {error}).")
    return None


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """A process inherits blocked signals: such a one does not reach it before it ignores it, and is not lost here."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class BatchOrder(NamedTuple):
    """A batch that the training will ask for.

    Attributes:
        key: Stage and epoch.
        indices: Of its images.
    """

    key: tuple[int, int]
    indices: tuple[int, ...]


class Samples(NamedTuple):
    """A painted batch.

    Attributes:
        good: uint8 (N, h, w, 3), BGR.
        defective: uint8 (N, h, w, 3), BGR.
        masks: bool (N, h, w).
    """

    good: NDArray[np.uint8]
    defective: NDArray[np.uint8]
    masks: NDArray[np.bool_]


class SampleFeed:
    """Painted batches in a given order; a context manager that leaves no process behind.

    Args:
        simulator: Paints.
        images: uint8 (N, h, w, 3), BGR.
        orders: The batches, in the order in which they are taken.
        batch_size: Most images of a batch.
        workers: Processes; 0 paints in this one.
    """

    def __init__(
        self,
        simulator: Simulator,
        images: NDArray[np.uint8],
        orders: Iterable[BatchOrder],
        *,
        batch_size: int,
        workers: int = 0,
    ) -> None:
        self._simulator, self._images = simulator, images
        self._orders: Iterator[BatchOrder] = iter(orders)
        shape = (batch_size, *images.shape[1:])
        self._workers = [SampleWorker(simulator, shape, _BATCHES_PER_WORKER) for _ in range(workers)]
        self._turns = itertools.cycle(self._workers)
        self._waited_seconds = 0.0

    def __enter__(self) -> SampleFeed:
        try:
            for worker in self._workers:
                worker.start()
            for worker in self._workers * _BATCHES_PER_WORKER:
                self._order_from(worker)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def take(self) -> Samples:
        """The next batch.

        Raises:
            DataError: A texture cannot be read.
            EdgeAdError: A worker ended.
        """
        began = time.perf_counter()
        samples = self._from_worker() if self._workers else self._painted(next(self._orders))
        self._waited_seconds += time.perf_counter() - began
        return samples

    def waited_seconds(self) -> float:
        """How long the training has waited for samples since this was last asked."""
        waited, self._waited_seconds = self._waited_seconds, 0.0
        return waited

    def _from_worker(self) -> Samples:
        worker = next(self._turns)
        memory, count = worker.receive()
        samples = Samples(memory.good[:count].copy(), memory.defective[:count].copy(), memory.masks[:count].copy())
        self._order_from(worker)
        return samples

    def _order_from(self, worker: SampleWorker) -> None:
        order = next(self._orders, None)
        if order is not None:
            worker.order(self._images[list(order.indices)], [(*order.key, index) for index in order.indices])

    def _painted(self, order: BatchOrder) -> Samples:
        memory = BatchMemory.empty((len(order.indices), *self._images.shape[1:]))
        memory.good[:] = self._images[list(order.indices)]
        memory.paint(self._simulator, [(*order.key, index) for index in order.indices])
        return Samples(*memory)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.stop()
