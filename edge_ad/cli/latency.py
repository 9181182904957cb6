"""Latency of an engine and of a whole frame, and of two ways to judge one, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from edge_ad.cli.frames import Frames
from edge_ad.cli.interleaved import Comparison, compare
from edge_ad.cli.subject import Subject
from edge_ad.evaluation.evaluate import Predictor
from edge_ad.images import resize
from edge_ad.prediction import Verdict
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.timing import LatencyStats, measure

__all__ = ["Measurements", "frame_judge", "measure_engine", "pipelined_fps"]


@dataclass(frozen=True)
class Measurements:
    """What a benchmark measured, at batch size 1.

    Attributes:
        engine: A frame of the input size through the engine.
        end_to_end: A decoded frame resized, inferred and judged.
        pipelined_fps: Frames per second when the backend may work on several at a time.
        comparison: End to end against torch, from the same rounds as ``end_to_end``; None when not asked for.
    """

    engine: LatencyStats
    end_to_end: LatencyStats
    pipelined_fps: float
    comparison: Comparison | None

    def latencies(self) -> dict[str, LatencyStats]:
        """What was measured → its latency."""
        rows = {"engine": self.engine, "end to end": self.end_to_end}
        return rows if self.comparison is None else {**rows, "end to end, torch": self.comparison.theirs}


def measure_engine(engine: Engine, frames: Frames, rival: Subject | None, *, seconds: float) -> Measurements:
    """Measure an open engine, and in turns with it a rival.

    Args:
        engine: Open engine.
        frames: Frames to run on.
        rival: Another way to predict; None to measure the engine alone.
        seconds: Time for each measurement, at least.
    """
    size_hw = engine.describe().input_size_hw
    threshold = engine.threshold.value
    batches = [resize(image, size_hw)[np.newaxis] for image in frames.images]
    endless = cycle(batches)
    alone = measure(lambda: engine.infer(next(endless)), min_seconds=seconds)
    fps = pipelined_fps(engine, endless, seconds)
    judge = frame_judge(engine.infer, frames.endless(), size_hw, threshold)
    if rival is None:
        return Measurements(alone, measure(judge, min_seconds=seconds), fps, None)
    # The same threshold for both: what is compared is the time a verdict takes.
    rival_judge = frame_judge(rival.predict, frames.endless(), rival.size_hw, threshold)
    comparison = compare(judge, rival_judge, seconds=seconds)
    return Measurements(alone, comparison.ours, fps, comparison)


def frame_judge(
    predict: Predictor, frames: Iterator[NDArray[np.uint8]], size_hw: tuple[int, int], threshold: float
) -> Callable[[], Verdict]:
    """Make a callable that takes the next decoded frame all the way to a verdict.

    Args:
        predict: uint8 (1, H, W, 3) BGR → one prediction.
        frames: Endless uint8 (H, W, 3) BGR.
        size_hw: Input size, in pixels.
        threshold: Threshold of the scores.
    """

    def judge() -> Verdict:
        image = resize(next(frames), size_hw)
        return Verdict.of(predict(image[np.newaxis])[0].score, threshold)

    return judge


def pipelined_fps(engine: Engine, batches: Iterator[NDArray[np.uint8]], seconds: float) -> float:
    """Frames per second through ``infer_many``.

    Args:
        engine: Open engine.
        batches: uint8 (1, H, W, 3) each, endless; what making one takes counts.
        seconds: Time to run for, at least.
    """
    for _ in engine.infer_many(islice(batches, 10)):  # compiles what only the pipeline needs
        pass
    start = time.perf_counter()
    done = 0
    # The frames end when the time is up; those under way are still counted, and so is their time.
    for _ in engine.infer_many(_until(start + seconds, batches)):
        done += 1
    return done / (time.perf_counter() - start)


def _until(deadline: float, batches: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    for index, batch in enumerate(batches):
        if index >= 10 and time.perf_counter() >= deadline:
            return
        yield batch
