"""A fake engine, a fake source, tiny videos."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.runtime.base import Engine, EngineDescription
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.pipeline import Pipeline
from edge_ad.streaming.slot import EngineSlot, Judging
from edge_ad.streaming.sources import Source

SIZE_HW = (32, 32)


class FakeEngine(Engine):
    """Scores an image by its mean brightness over 128; may be slow, may crash."""

    def __init__(self, *, seconds: float = 0.0, crash_at: int | None = None) -> None:
        super().__init__(EngineDescription("fake", "fp32", "test", "1", SIZE_HW, 1))
        self.seconds, self.crash_at, self.calls = seconds, crash_at, 0

    def _open(self) -> None:
        pass

    def _close(self) -> None:
        pass

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if self.calls == self.crash_at:
            raise RuntimeError("the engine crashed")
        self.calls += 1
        time.sleep(self.seconds)
        maps = images.mean(axis=3, dtype=np.float32) / 128
        return maps.mean(axis=(1, 2)), maps


class FakeSource(Source):
    """Grey frames whose brightness is the frame's number, as fast as they are read or by the clock."""

    def __init__(
        self, frames: int | None, *, is_live: bool = False, interval_s: float = 0.0, size_hw: tuple[int, int] = SIZE_HW
    ) -> None:
        super().__init__("fake source", is_live=is_live)
        self.frames, self.interval_s, self.size_hw = frames, interval_s, size_hw
        self.reads, self.closes, self._next_at = 0, 0, 0.0

    def open(self) -> None:
        self.reads, self._next_at = 0, 0.0

    def read(self) -> NDArray[np.uint8] | None:
        if self.frames is not None and self.reads >= self.frames:
            return None
        self._next_at = (self._next_at or time.perf_counter()) + self.interval_s
        time.sleep(max(0.0, self._next_at - time.perf_counter()))
        self.reads += 1
        return np.full((*self.size_hw, 3), (self.reads - 1) % 256, np.uint8)

    def close(self) -> None:
        self.closes += 1


def pipeline_of(engine: Engine, *sources: Source, threshold: float = 1.0, **options: Any) -> Pipeline:
    """A pipeline whose engine stays."""
    control = options.pop("control", None) or StreamControl(threshold)
    slot = EngineSlot(Judging(engine, control.bundle, threshold), lambda old, new: None)
    return Pipeline(slot, sources, control, **options)


def random_jpeg() -> bytes:
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", image)[1].tobytes())


def write_h264(path: Path, frames: int, size_hw: tuple[int, int], fps: int) -> None:
    """Frame k is grey of brightness 20 * k."""
    av = pytest.importorskip("av", reason="PyAV writes the H.264 test videos")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = size_hw
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            image = np.full((*size_hw, 3), 20 * number % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
