"""Pinned host memory and device memory for the tensors of a deploy graph, and the events that order their use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge_ad.runtime.tensorrt.timings import StageTimes

__all__ = ["Slot", "Span", "TensorMemory"]


class TensorMemory:
    """One tensor twice: pinned on the host, so that copies are asynchronous, and on the device.

    Args:
        driver: ``pycuda.driver``.
        shape: Largest shape, batch first.
        dtype: Type of an element.
    """

    def __init__(self, driver: Any, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._driver = driver
        self._pinned = driver.pagelocked_empty(shape, dtype)
        try:
            self.device = driver.mem_alloc(self._pinned.nbytes)
        except BaseException:
            self._pinned.base.free()
            raise

    def host(self, batch: int) -> NDArray[Any]:
        """The pinned memory of the first images, which a copy to or from the device fills."""
        view: NDArray[Any] = self._pinned[:batch]
        return view

    def upload(self, batch: int, stream: Any) -> None:
        """Queue the copy of the first images to the device."""
        self._driver.memcpy_htod_async(self.device, self._pinned[:batch], stream)

    def download(self, batch: int, stream: Any) -> None:
        """Queue the copy of the first images from the device."""
        self._driver.memcpy_dtoh_async(self._pinned[:batch], self.device, stream)

    def copy_to(self, other: TensorMemory, batch: int, stream: Any) -> None:
        """Queue the copy of the first images to another tensor's device memory."""
        self._driver.memcpy_dtod_async(other.device, self.device, self._pinned[:batch].nbytes, stream)

    def steps(self) -> list[Callable[[], None]]:
        """What frees it."""
        return [self.device.free, self._pinned.base.free]


class Span:
    """Two events around a stage on a stream.

    Args:
        driver: ``pycuda.driver``.
    """

    def __init__(self, driver: Any) -> None:
        self.start = driver.Event()
        self.end = driver.Event()

    def duration_ms(self) -> float:
        """Time between the two, in milliseconds; both must have happened."""
        return float(self.end.time_since(self.start))


class Slot:
    """Memory for one batch on its way through the GPU.

    Args:
        driver: ``pycuda.driver``.
        batch: Largest batch.
        size_hw: Height and width of the images, in pixels.
    """

    def __init__(self, driver: Any, batch: int, size_hw: tuple[int, int]) -> None:
        self._memory: list[TensorMemory] = []
        self.batch = 0
        try:
            self.image = self._allocate(driver, (batch, *size_hw, 3), np.uint8)
            self.score = self._allocate(driver, (batch,), np.float32)
            self.anomaly_map = self._allocate(driver, (batch, *size_hw), np.float32)
            self.h2d, self.compute, self.d2h = Span(driver), Span(driver), Span(driver)
        except BaseException:
            for step in self.steps():
                step()
            raise

    def fill(self, images: NDArray[np.uint8], batch: int) -> None:
        """Copy frames into pinned memory; black ones fill up to ``batch``, which a plan may need at least."""
        host = self.image.host(batch)
        host[: len(images)] = images
        host[len(images) :] = 0
        self.batch = batch

    def wait(self) -> None:
        """Wait for the copies from the device; the slot is free then."""
        self.d2h.end.synchronize()
        self.batch = 0

    def result(self, images: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Wait, and take the results of the first images out of the pinned memory."""
        self.wait()
        return self.score.host(images).copy(), self.anomaly_map.host(images).copy()

    def times(self) -> StageTimes:
        """Time of each stage; call after `result`."""
        return StageTimes(self.h2d.duration_ms(), self.compute.duration_ms(), self.d2h.duration_ms())

    def steps(self) -> list[Callable[[], None]]:
        """What frees it, in order; nothing may be queued on it."""
        return [*(step for memory in self._memory for step in memory.steps()), self._drop_events]

    def _allocate(self, driver: Any, shape: tuple[int, ...], dtype: DTypeLike) -> TensorMemory:
        memory = TensorMemory(driver, shape, dtype)
        self._memory.append(memory)
        return memory

    def _drop_events(self) -> None:
        for name in ("h2d", "compute", "d2h"):
            self.__dict__.pop(name, None)  # pycuda destroys an event with its last reference
