"""Videos and folders that start later, loop, or are played at their own rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.errors import DataError
from edge_ad.streaming.sources import Source, SourceOptions, source_from_uri
from edge_ad.streaming.sources.base import Pacer


def _numbers(source: Source, frames: int) -> list[int | None]:
    """Numbers of the frames of a test video, told by their brightness."""
    images = [source.read() for _ in range(frames)]
    return [None if image is None else round(float(image.mean()) / 20) for image in images]


def test_video_loops(make_video: Callable[..., Path]) -> None:
    with source_from_uri(str(make_video(4)), SourceOptions(loop=True)) as source:
        assert _numbers(source, 10) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_video_starts_where_it_is_asked_to_and_loops_to_there(make_video: Callable[..., Path]) -> None:
    path = make_video(6, fps=10)
    with source_from_uri(f"file://{path}?start=0.4") as source:
        assert _numbers(source, 3) == [4, 5, None]
    with source_from_uri(f"file://{path}?start=0.4&loop=1") as source:
        assert _numbers(source, 5) == [4, 5, 4, 5, 4]


def test_start_beyond_the_end_is_refused(make_video: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"ends before 9 s: it has 0\.5 s"):
        source_from_uri(str(make_video(5, fps=10)), SourceOptions(start_s=9)).open()


def test_video_at_its_own_rate_takes_its_own_time(make_video: Callable[..., Path]) -> None:
    started = time.perf_counter()
    with source_from_uri(str(make_video(6, fps=20)), SourceOptions(pace="source")) as source:
        assert _numbers(source, 6) == [0, 1, 2, 3, 4, 5]
    assert time.perf_counter() - started >= 0.25


def test_wait_for_a_frame_that_is_due_later_can_be_cancelled(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    with source_from_uri(f"file://{tmp_path}?fps=0.1&pace=source&loop=1") as source:
        assert source.read() is not None
        threading.Timer(0.1, source.cancel).start()
        assert source.read() is None


def test_folder_loops_with_what_is_in_it_then(tmp_path: Path) -> None:
    for number in (0, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 4, 3), 20 * number, np.uint8))
    with source_from_uri(str(tmp_path), SourceOptions(loop=True)) as source:
        assert _numbers(source, 2) == [0, 2]
        cv2.imwrite(str(tmp_path / "1.png"), np.full((4, 4, 3), 20, np.uint8))
        assert _numbers(source, 4) == [0, 1, 2, 0]


def test_reader_that_fell_behind_is_not_hurried() -> None:
    pacer, cancelled = Pacer(0.02), threading.Event()
    pacer.wait(cancelled)
    time.sleep(0.2)
    started = time.perf_counter()
    for _ in range(5):
        pacer.wait(cancelled)
    assert time.perf_counter() - started >= 0.05
