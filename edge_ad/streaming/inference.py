"""The two ways frames go through the engine: the newest one at a time, or every one with several in flight."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge_ad.images import resize
from edge_ad.prediction import Prediction, Verdict
from edge_ad.runtime.base import Engine
from edge_ad.streaming.frame import Frame, Result

__all__ = ["Prepared", "infer_each", "infer_in_flight", "prepare", "warm_up"]

Prepared = tuple[Frame, NDArray[np.uint8], float]  # frame, uint8 (h, w, 3) at the engine's size, resize time in ms


def warm_up(engine: Engine, *, is_live: bool) -> None:
    """Have the engine do what it does only once, before the first frame waits for it.

    Args:
        engine: An open engine.
        is_live: Whether `infer_each` is to run, and not `infer_in_flight`.
    """
    if is_live:
        engine.warm_up()
        return
    grey = np.full((1, *engine.describe().input_size_hw, 3), 127, np.uint8)
    for _ in engine.infer_many([grey] * 3):
        pass


def prepare(frame: Frame, size_hw: tuple[int, int]) -> Prepared:
    """Resize a frame to the engine's input."""
    started = time.perf_counter()
    image = resize(frame.image, size_hw)
    return frame, image, _ms_since(started)


def infer_each(engine: Engine, frames: Iterable[Frame], threshold: float) -> Generator[Result, None, None]:
    """Prepare and judge one frame at a time: the least age, for live sources."""
    size_hw = engine.describe().input_size_hw
    for frame in frames:
        prepared = prepare(frame, size_hw)
        started = time.perf_counter()
        prediction = engine.infer(prepared[1][np.newaxis])[0]
        yield _result(prepared, prediction, threshold, started)


def infer_in_flight(engine: Engine, prepared: Iterable[Prepared], threshold: float) -> Generator[Result, None, None]:
    """Judge every frame, as many at once as the engine has requests: the most frames per second, for files."""
    waiting: deque[tuple[Prepared, float]] = deque()

    def images() -> Iterator[NDArray[np.uint8]]:
        for item in prepared:
            waiting.append((item, time.perf_counter()))
            yield item[1][np.newaxis]

    for prediction in engine.infer_many(images()):
        item, started = waiting.popleft()
        yield _result(item, prediction, threshold, started)


def _result(prepared: Prepared, prediction: Prediction, threshold: float, started: float) -> Result:
    frame, _, prepare_ms = prepared
    verdict = Verdict.of(prediction.score, threshold)
    return Result(frame, prediction, verdict, prepare_ms, _ms_since(started), _ms_since(frame.captured_at))


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
