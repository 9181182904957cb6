"""Samples painted ahead of the training, by worker processes.

A sample follows from its image and its key alone, so the number of workers changes nothing but the time. Batch k is
painted by worker k mod n, into memory that both processes see. Workers import no torch, so they start in a moment.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.simulated_defects import Simulator
from edge_ad.training.sample_worker import BatchMemory, SampleWorker

__all__ = ["BatchOrder", "SampleFeed", "Samples"]

_BATCHES_PER_WORKER = 2  # one is painted while another waits to be taken


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
