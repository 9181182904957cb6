"""Latency of an engine and of a whole frame, on real photos, and the machine that it was measured on."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.bundle import Bundle
from edge_ad.data.products import list_photos
from edge_ad.evaluation.evaluate import LoadedPredictor, Predictor
from edge_ad.images import read_image
from edge_ad.photo_spec import PhotoSpec
from edge_ad.prediction import Verdict
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.target import available_cores, processor
from edge_ad.runtime.timing import Comparison, LatencyStats, compare, measure

__all__ = [
    "Frames",
    "Measurements",
    "describe_machine",
    "frame_judge",
    "measure_engine",
    "pipelined_fps",
    "read_frames",
]

_LIMIT = 32  # enough variety to keep caches honest, few enough to stay decoded in memory
_PACKAGES = ("edge-ad", "numpy", "opencv-python", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Frames:
    """Decoded frames.

    Attributes:
        source: Where they come from, in words.
        images: uint8 (H, W, 3) BGR each, at their own size.
        photos: How they fill a network's input; by default they are stretched, as those that are at its size already.
    """

    source: str
    images: Sequence[NDArray[np.uint8]]
    photos: PhotoSpec = field(default_factory=PhotoSpec)

    @property
    def sizes_hw(self) -> list[tuple[int, int]]:
        """The sizes that occur, in pixels."""
        return sorted({(image.shape[0], image.shape[1]) for image in self.images})

    def endless(self) -> Iterator[NDArray[np.uint8]]:
        """The frames, again and again."""
        return cycle(self.images)


def read_frames(bundle: Bundle, data: Path | None) -> Frames:
    """Decode frames to measure with.

    Args:
        bundle: Its reference photos are used when there is no ``data``; they are at the input size already.
        data: Product whose photos are used, at their own size; an even choice of at most 32.

    Raises:
        DataError: ``data`` cannot be used.
        BundleError: No ``data``, and the bundle has no reference photos.
    """
    if data is None:
        return Frames("reference photos of the bundle", list(bundle.reference().images))
    paths = list_photos(data)
    chosen = paths[:: max(1, -(-len(paths) // _LIMIT))]
    photos = bundle.manifest.photos
    images = [read_image(path, photos.significant_bits) for path in chosen]
    return Frames(f"photos of {data.resolve().name}", images, photos)


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


def measure_engine(engine: Engine, frames: Frames, baseline: LoadedPredictor | None, *, seconds: float) -> Measurements:
    """Measure an open engine, and in turns with it a baseline.

    Args:
        engine: Open engine.
        frames: Frames to run on.
        baseline: Another predictor; None to measure the engine alone.
        seconds: Time for each measurement, at least.
    """
    size_hw = engine.describe().input_size_hw
    threshold = engine.threshold.value
    batches = [frames.photos.prepare(image, size_hw).image[np.newaxis] for image in frames.images]
    endless = cycle(batches)
    alone = measure(lambda: engine.infer(next(endless)), min_seconds=seconds)
    fps = pipelined_fps(engine, endless, seconds)
    judge = frame_judge(engine.infer, frames.endless(), size_hw, threshold, frames.photos)
    if baseline is None:
        return Measurements(alone, measure(judge, min_seconds=seconds), fps, None)
    # The same threshold for both: what is compared is the time a verdict takes.
    baseline_judge = frame_judge(baseline.predict, frames.endless(), baseline.size_hw, threshold, frames.photos)
    comparison = compare(judge, baseline_judge, seconds=seconds)
    return Measurements(alone, comparison.ours, fps, comparison)


def frame_judge(
    predict: Predictor,
    frames: Iterator[NDArray[np.uint8]],
    size_hw: tuple[int, int],
    threshold: float,
    photos: PhotoSpec,
) -> Callable[[], Verdict]:
    """Make a callable that takes the next decoded frame all the way to a verdict.

    Args:
        predict: uint8 (1, H, W, 3) BGR → one prediction.
        frames: Endless uint8 (H, W, 3) BGR.
        size_hw: Input size, in pixels.
        threshold: Threshold of the scores.
        photos: How a frame fills the input.
    """

    def judge() -> Verdict:
        image = photos.prepare(next(frames), size_hw).image
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


def describe_machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """What decides a latency: processor, cores, system, versions.

    Args:
        packages: Packages to give the version of, beside those of the device side.

    Returns:
        ``processor``, ``instructions``, ``cores``, ``system``, ``python`` and ``versions``.
    """
    cpu = processor()
    return {
        "processor": cpu.name,
        "instructions": list(cpu.flags),
        "cores": available_cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: found for name in (*_PACKAGES, *packages) if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
