"""OpenCV's threads beside an engine: what the engine leaves, and as before afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import pytest

from edge_ad.runtime.engine import EngineDescription
from edge_ad.streaming import opencv_threads
from edge_ad.streaming.opencv_threads import opencv_beside


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(opencv_threads, "available_cores", lambda: 8)
    before = cv2.getNumThreads()
    cv2.setNumThreads(6)
    yield
    cv2.setNumThreads(before)


def _engine(device: str, threads: int) -> EngineDescription:
    return EngineDescription("any", "int8", device, "1", (32, 32), threads)


@pytest.mark.parametrize(
    ("device", "threads", "expected"),
    [
        ("CPU: any", 0, 1),  # the backend decides, and takes all
        ("CPU: any", 8, 1),
        ("CPU: any", 5, 3),
        ("CPU: any", 1, 6),  # never more than before
        ("GPU: any (sm87)", 0, 6),
    ],
)
def test_opencv_has_the_cores_that_the_engine_leaves(device: str, threads: int, expected: int) -> None:
    with opencv_beside(_engine(device, threads)):
        assert cv2.getNumThreads() == expected
    assert cv2.getNumThreads() == 6


def test_the_number_comes_back_after_an_error() -> None:
    with pytest.raises(RuntimeError, match="broken"), opencv_beside(_engine("CPU: any", 0)):
        raise RuntimeError("broken")
    assert cv2.getNumThreads() == 6
