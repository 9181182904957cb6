"""A fake engine, a fake source, tiny videos."""

from __future__ import annotations

import threading
import time
from collections.abc import Container
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import StorageError
from edge_ad.runtime.engine import Engine, EngineDescription
from edge_ad.streaming.active_engine import ActiveEngine, JudgingEngine
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event, Result, Unjudged
from edge_ad.streaming.pipeline import Pipeline
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources import Source
from tests.streaming.results import wait_until

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
    """Grey frames whose brightness is the frame's number, as fast as they are read or by the clock.

    With ``told``, each is given when that sink knows of all before it: none is dropped, however busy the machine is.
    """

    def __init__(
        self,
        frames: int | None,
        *,
        is_live: bool = False,
        interval_s: float = 0.0,
        size_hw: tuple[int, int] = SIZE_HW,
        told: ListSink | None = None,
    ) -> None:
        super().__init__("fake source", is_live=is_live)
        self._told = told
        self.frames, self.interval_s, self.size_hw = frames, interval_s, size_hw
        self.reads, self.closes, self._next_at = 0, 0, 0.0

    def open(self) -> None:
        self.reads, self._next_at = 0, 0.0

    def read(self) -> NDArray[np.uint8] | None:
        if self.frames is not None and self.reads >= self.frames:
            return None
        if (told := self._told) is not None:
            wait_until(lambda: len(told.results) + len(told.skipped) == self.reads)
        self._next_at = (self._next_at or time.perf_counter()) + self.interval_s
        time.sleep(max(0.0, self._next_at - time.perf_counter()))
        self.reads += 1
        return np.full((*self.size_hw, 3), (self.reads - 1) % 256, np.uint8)

    def close(self) -> None:
        self.closes += 1


class SilentSource(FakeSource):
    """A live source that gives no frame: its read returns when it is cancelled."""

    def __init__(self) -> None:
        super().__init__(None, is_live=True)
        self._is_cancelled = threading.Event()

    def read(self) -> NDArray[np.uint8] | None:
        self._is_cancelled.wait()
        return None

    def cancel(self) -> None:
        self._is_cancelled.set()


def pipeline_of(engine: Engine, *sources: Source, threshold: float = 1.0, **options: Any) -> Pipeline:
    """A pipeline whose engine stays."""
    control = options.pop("control", None) or StreamControl(threshold)
    active = ActiveEngine(JudgingEngine(engine, control.bundle, threshold))
    return Pipeline(active, sources, control, **options)


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


class NumberedSource(FakeSource):
    """Numbers its frames in their first pixels; some it gives twice, some are damaged, as a camera that counts."""

    def __init__(
        self,
        frames: int | None,
        *,
        is_live: bool = False,
        interval_s: float = 0.0,
        duplicate_every: int = 0,
        corrupt_every: int = 0,
        name: str = "numbered",
        told: ListSink | None = None,
    ) -> None:
        super().__init__(frames, is_live=is_live, interval_s=interval_s, told=told)
        self.name = name
        self._duplicate_every, self._corrupt_every = duplicate_every, corrupt_every
        self.source_count = 0

    def read(self) -> NDArray[np.uint8] | None:
        while (image := super().read()) is not None:
            number = self.reads
            self.source_count = number
            if self._duplicate_every and number % self._duplicate_every == 0:
                self.duplicates += 1
            elif self._corrupt_every and number % self._corrupt_every == 0:
                self.corrupt += 1
            else:
                image[0, :4, 0] = [number >> shift & 255 for shift in (24, 16, 8, 0)]
                return image
        return None


def number_of(image: NDArray[np.uint8]) -> int:
    """The number that a `NumberedSource` wrote into a frame."""
    return int.from_bytes(bytes(image[0, :4, 0].tolist()), "big")


class ListSink(Sink):
    """Keeps what it is given, and from which thread; may be slow, may fail."""

    delivery = "lossless"

    def __init__(self, *, seconds: float = 0.0, fails_at: Container[int] = ()) -> None:
        self.seconds, self.fails_at, self.calls = seconds, fails_at, 0
        self.results: list[Result] = []
        self.skipped: list[Unjudged] = []
        self.events: list[Event] = []
        self.order: list[str] = []
        self.threads: set[str] = set()
        self.is_closed = False

    def begin(self, source: Source) -> None:
        self.threads.add(threading.current_thread().name)

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        self.calls += 1
        if self.calls - 1 in self.fails_at:
            raise StorageError("no space left on device")
        self.results.append(result)
        self.order.append(f"frame {result.frame.index}")

    def unjudged(self, unjudged: Unjudged) -> None:
        self.skipped.append(unjudged)

    def event(self, event: Event) -> None:
        self.events.append(event)
        self.order.append(event.kind)

    def close(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.is_closed = True


class LossySink(ListSink):
    delivery = "lossy"


class InlineSink(ListSink):
    delivery = "inline"
    needs_picture = True
