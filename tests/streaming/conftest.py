"""An open fake engine, tiny videos, a network camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.mjpeg_camera import MjpegCamera
from tests.streaming.fakes import FakeEngine, random_jpeg, write_h264


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
def mjpeg_camera() -> Iterator[MjpegCamera]:
    camera = MjpegCamera([random_jpeg()])
    camera.start()
    yield camera
    camera.stop()


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    def make(frames: int = 5, *, size_hw: tuple[int, int] = (48, 64), fps: int = 10) -> Path:
        path = tmp_path / "line.mp4"
        write_h264(path, frames, size_hw, fps)
        return path

    return make
