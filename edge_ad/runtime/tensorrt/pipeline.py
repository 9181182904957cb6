"""The pipeline on the GPU: upload, compute and download on a stream each, ordered by events.

Everything here runs on the owner thread. A frame of a video goes through a slot of its own::

    upload    | frame 1 | frame 2 | ...
    compute             | frame 1 | frame 2 | ...
    download                      | frame 1 | frame 2 | ...

so that copies of one frame overlap with the kernels of another. The plan stays bound to one slot's device memory; the
other slots copy to and from it on the device, on the compute stream, which costs microseconds and keeps a captured
graph valid. A single batch goes through the bound slot directly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_ad.runtime.cuda.driver import CudaDriver, CudaStream
from edge_ad.runtime.cuda.graphs import GraphCapture
from edge_ad.runtime.tensorrt.memory import Execution, Slot
from edge_ad.runtime.tensorrt.plan import Plan
from edge_ad.runtime.tensorrt.timings import StageTimes

__all__ = ["SLOTS_PER_STREAM", "Pipeline", "Results"]

SLOTS_PER_STREAM = 2
"""Slots that a video uses: one is copied while the other computes."""

Results = tuple[NDArray[np.float32], NDArray[np.float32]]


class _Streams(NamedTuple):
    upload: CudaStream
    compute: CudaStream
    download: CudaStream


class Pipeline:
    """A loaded plan with its streams and its memory.

    Args:
        driver: CUDA.
        load: Loads the plan.
        size_hw: Height and width of the images, in pixels.
        on_times: Takes the times of each inference.
    """

    def __init__(
        self,
        driver: CudaDriver,
        load: Callable[[], Plan],
        size_hw: tuple[int, int],
        on_times: Callable[[StageTimes], None],
    ) -> None:
        self._driver = driver
        self._size_hw = size_hw
        self._on_times = on_times
        self._streams: _Streams | None = None
        self._plan: Plan | None = None
        self._execution: Execution | None = None
        self._slots: list[Slot] = []
        self._idle: list[Slot] = []
        try:
            self._open(load)
        except BaseException:
            self.close()
            raise

    @property
    def uses_graph(self) -> bool:
        """Whether the last inference was launched as a CUDA graph."""
        return self._execution is not None and self._execution.uses_graph

    def run(self, images: NDArray[np.uint8]) -> Results:
        """Run a batch of any size, in parts where it exceeds the plan's.

        Args:
            images: uint8 (N, H, W, 3).

        Returns:
            float32 scores (N,) and maps (N, H, W).
        """
        assert self._plan is not None
        size = self._plan.max_batch
        parts = [self._run_part(images[start : start + size]) for start in range(0, len(images), size)]
        if len(parts) == 1:
            return parts[0]
        scores, maps = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(maps)

    def take_slots(self) -> list[Slot]:
        """Take slots for a video."""
        assert self._plan is not None
        while len(self._idle) < SLOTS_PER_STREAM:
            slot = Slot(self._driver, max(1, self._plan.min_batch), self._size_hw)
            self._slots.append(slot)
            self._idle.append(slot)
        taken, self._idle = self._idle[:SLOTS_PER_STREAM], self._idle[SLOTS_PER_STREAM:]
        return taken

    def give_back(self, slots: list[Slot]) -> None:
        """Return slots, after waiting for what is still queued on them."""
        for slot in slots:
            if slot.batch:
                slot.wait()
            self._idle.append(slot)

    def start(self, slot: Slot, frame: NDArray[np.uint8]) -> None:
        """Queue a frame on a slot.

        Args:
            slot: A slot with nothing queued.
            frame: uint8 (1, H, W, 3); it may be overwritten afterwards.
        """
        assert self._streams is not None
        self._queue_whole(slot, frame, self._streams)

    def finish(self, slot: Slot) -> Results:
        """Wait for a slot's frame.

        Returns:
            float32 score (1,) and map (1, H, W).
        """
        results = slot.result(1)
        self._on_times(slot.times())
        return results

    def close(self) -> None:
        """Free everything, in order; try each step, and raise the first failure at the end."""
        steps: list[Callable[[], None]] = []
        if self._streams is not None:
            steps += [stream.synchronize for stream in self._streams]
        if self._execution is not None:
            steps += self._execution.steps()
        if self._plan is not None:
            steps += [self._plan.free_engine, self._plan.free_runtime]
        for slot in self._slots:
            steps += slot.steps()
        self._slots, self._idle = [], []
        self._execution = self._plan = None
        failures = [error for step in steps if (error := _failure_of(step)) is not None]
        self._streams = None  # last: the events above were recorded on them
        steps.clear()
        if failures:
            raise failures[0]

    def _open(self, load: Callable[[], Plan]) -> None:
        streams = _Streams(*(self._driver.make_stream() for _ in _Streams._fields))
        self._streams = streams
        self._plan = load()
        bound = Slot(self._driver, self._plan.max_batch, self._size_hw)
        self._slots.append(bound)
        capture = GraphCapture.on(streams.compute.handle)
        self._execution = Execution(self._plan, bound, streams.compute, capture)

    def _run_part(self, images: NDArray[np.uint8]) -> Results:
        assert self._streams is not None
        bound, compute = self._slots[0], self._streams.compute
        self._queue_whole(bound, images, _Streams(compute, compute, compute))  # nothing to overlap with
        results = bound.result(len(images))
        self._on_times(bound.times())
        return results

    def _queue_whole(self, slot: Slot, images: NDArray[np.uint8], streams: _Streams) -> None:
        try:
            self._queue(slot, images, streams)
        except BaseException:
            for stream in streams:  # part of it may be queued, and the slot is used again
                _failure_of(stream.synchronize)
            slot.batch = 0
            raise

    def _queue(self, slot: Slot, images: NDArray[np.uint8], streams: _Streams) -> None:
        assert self._plan is not None
        slot.fill(images, max(len(images), self._plan.min_batch))
        slot.h2d.start.record(streams.upload)
        slot.image.upload(slot.batch, streams.upload)
        slot.h2d.end.record(streams.upload)
        streams.compute.wait_for_event(slot.h2d.end)
        slot.compute.start.record(streams.compute)
        self._compute(slot, streams.compute)
        slot.compute.end.record(streams.compute)
        streams.download.wait_for_event(slot.compute.end)
        slot.d2h.start.record(streams.download)
        slot.score.download(slot.batch, streams.download)
        slot.anomaly_map.download(slot.batch, streams.download)
        slot.d2h.end.record(streams.download)

    def _compute(self, slot: Slot, stream: CudaStream) -> None:
        assert self._execution is not None
        bound = self._slots[0]
        if slot is not bound:
            slot.image.copy_to(bound.image, slot.batch, stream)
        self._execution.enqueue(slot.batch)
        if slot is not bound:
            bound.score.copy_to(slot.score, slot.batch, stream)
            bound.anomaly_map.copy_to(slot.anomaly_map, slot.batch, stream)


def _failure_of(step: Callable[[], None]) -> Exception | None:
    try:
        step()
    except Exception as error:  # on a lost device every step fails, but all must be tried
        return error
    return None
