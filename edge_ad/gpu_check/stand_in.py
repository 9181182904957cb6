"""An engine whose plan is made of copies on the device: everything of CUDA that an engine uses, without TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edge_ad.runtime.cuda.driver import CudaDriver, CudaStream
from edge_ad.runtime.engine import EngineDescription
from edge_ad.runtime.tensorrt.engine import GpuEngine
from edge_ad.runtime.tensorrt.plan import Plan

__all__ = ["StandInEngine", "expected_results", "stand_in_frames"]

_MAX_BATCH = 4
_FLOAT_BYTES = 4
_FINITE_BYTES = 64  # four bytes below it are a finite float32 of 0 or more


class StandInEngine(GpuEngine):
    """An engine on a plan that copies the bytes of the frames into scores and maps.

    Args:
        driver: CUDA, initialised.
        size_hw: Height and width of the frames, in pixels.
        repeats: How often each run copies, so that it takes longer than a call.
    """

    def __init__(self, driver: CudaDriver, size_hw: tuple[int, int], *, repeats: int = 1) -> None:
        device = f"GPU: {driver.device_name()}"
        super().__init__(EngineDescription("stand-in", "fp32", device, driver.version, size_hw, threads=0), None)
        self._driver = driver
        self._repeats = repeats

    def _make_loader(self) -> tuple[CudaDriver, Callable[[], Plan]]:
        streams = _RememberedStreams(self._driver)
        size_hw = self._description.input_size_hw

        def load() -> Plan:
            plan = _CopyPlan(self._driver, streams.taken(), size_hw, self._repeats)
            return Plan(_SilentLog(), None, plan, 1, _MAX_BATCH)

        return cast("CudaDriver", streams), load


def stand_in_frames(count: int, size_hw: tuple[int, int], *, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 frames (N, H, W, 3) whose copies are finite numbers."""
    return np.random.default_rng(seed).integers(0, _FINITE_BYTES, (count, *size_hw, 3), dtype=np.uint8)


def expected_results(frames: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the engine gives for frames.

    A run copies the bytes of its batch one after the other, so a map holds three quarters of a float per pixel of the
    batch; the rest is zero.

    Args:
        frames: uint8 (N, H, W, 3).

    Returns:
        float32 scores (N,) and maps (N, H, W).
    """
    parts = [frames[start : start + _MAX_BATCH] for start in range(0, len(frames), _MAX_BATCH)]
    scores, maps = zip(*map(_expected_of_batch, parts), strict=True)
    return np.concatenate(scores), np.concatenate(maps)


def _expected_of_batch(frames: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    count, height, width, _ = frames.shape
    content = np.zeros(count * height * width * _FLOAT_BYTES, np.uint8)
    content[: frames.size] = frames.reshape(-1)
    scores = frames.reshape(-1)[: count * _FLOAT_BYTES].copy()
    return scores.view(np.float32), content.view(np.float32).reshape(count, height, width)


class _RememberedStreams:
    """A driver that keeps the streams it makes: a plan is given a stream's handle, and pycuda wants the stream."""

    def __init__(self, driver: CudaDriver) -> None:
        self._driver = driver
        self._streams: dict[int, CudaStream] = {}

    def make_stream(self) -> CudaStream:
        stream = self._driver.make_stream()
        self._streams[stream.handle] = stream
        return stream

    def taken(self) -> dict[int, CudaStream]:
        streams, self._streams = self._streams, {}
        return streams

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


class _SilentLog:
    def take_error(self) -> str:
        return ""


class _CopyPlan:
    """What an engine asks of a plan, and of its execution context."""

    def __init__(
        self, driver: CudaDriver, streams: dict[int, CudaStream], size_hw: tuple[int, int], repeats: int
    ) -> None:
        self._driver, self._streams, self._repeats = driver, streams, repeats
        self._pixels = size_hw[0] * size_hw[1]
        self._addresses: dict[str, int] = {}
        self._batch = 0

    def create_execution_context(self) -> _CopyPlan:
        return self

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._batch = shape[0]
        return True

    def execute_async_v3(self, handle: int) -> bool:
        stream, frames = self._streams[handle], self._batch * self._pixels * 3
        image, score, anomaly_map = (self._addresses[name] for name in ("image", "score", "anomaly_map"))
        for _ in range(self._repeats):
            self._driver.fill(anomaly_map, 0, self._batch * self._pixels * _FLOAT_BYTES, stream)
            self._driver.copy(anomaly_map, image, frames, stream)
            self._driver.copy(score, image, self._batch * _FLOAT_BYTES, stream)
        return True
