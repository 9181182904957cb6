"""How much of the speed of decoder and engine is left in a stream over a 1280×720 H.264 file.

    python -m benchmarks.stream_speed --bundle BUNDLE

Decoding alone, the engine alone (frame after frame, and several in flight) and the stream take turns in one process;
the medians are compared. Prints JSON: `ratio` is stream / min(engine, decoder) in frames per second.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.frames import passing_parts, photos
from benchmarks.live_rows import add_out_option, add_row
from edge_ad.bundle import Bundle
from edge_ad.images import resize
from edge_ad.runtime import Engine, open_engine
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sources import source_from_uri
from edge_ad.streaming.statistics import Summary

_SIZE_HW = (720, 1280)


def write_h264(path: Path, parts: Sequence[NDArray[np.uint8]], frames: int) -> None:
    """Encode parts passing by as H.264, 30 FPS."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width = _SIZE_HW
        stream.pix_fmt = "yuv420p"
        for image in passing_parts(parts, frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


def _read(path: Path, frames: int) -> list[NDArray[np.uint8]]:
    with source_from_uri(str(path)) as source:
        read = (source.read() for _ in range(frames))
        return [image for image in read if image is not None]


def decode_fps(path: Path) -> float:
    """Frames per second of the decoder alone, as the stream uses it."""
    with source_from_uri(str(path)) as source:
        source.read()
        started, frames = time.perf_counter(), 0
        while source.read() is not None:
            frames += 1
        return frames / (time.perf_counter() - started)


def rate(judge: Callable[[Sequence[NDArray[np.uint8]]], None], frames: Sequence[NDArray[np.uint8]]) -> float:
    """Frames per second of the engine alone, on frames that are decoded and resized already."""
    started = time.perf_counter()
    judge(frames)
    return len(frames) / (time.perf_counter() - started)


def run(bundle: Bundle, images: Path | None, frames: int, rounds: int, backend: str, threads: int) -> dict[str, Any]:
    """Measure in turns."""
    seen: dict[str, list[float]] = {"decode": [], "engine": [], "engine_in_flight": [], "resize": [], "stream": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        open_engine(bundle, backend=backend, threads=threads) as engine,
    ):
        path = Path(folder) / "line.mp4"
        write_h264(path, photos(bundle, images, _SIZE_HW), frames)
        size_hw = engine.describe().input_size_hw
        full = _read(path, 60)
        ready = [resize(frame, size_hw)[np.newaxis] for frame in full] * max(1, frames // 60)
        _one_by_one(engine, ready[:10])
        _in_flight(engine, ready[:10])
        for _ in range(rounds):
            seen["decode"].append(decode_fps(path))
            seen["resize"].append(rate(lambda images: _resize(images, size_hw), full))
            seen["engine"].append(rate(lambda images: _one_by_one(engine, images), ready))
            seen["engine_in_flight"].append(rate(lambda images: _in_flight(engine, images), ready))
            summary = run_stream(engine, source_from_uri(str(path)), threshold=engine.threshold.value)
            seen["stream"].append(summary.fps)
        return _report(seen, summary, engine)


def _resize(images: Sequence[NDArray[np.uint8]], size_hw: tuple[int, int]) -> None:
    for image in images:
        resize(image, size_hw)


def _one_by_one(engine: Engine, images: Sequence[NDArray[np.uint8]]) -> None:
    for image in images:
        engine.infer(image)


def _in_flight(engine: Engine, images: Sequence[NDArray[np.uint8]]) -> None:
    for _ in engine.infer_many(images):
        pass


def _report(seen: dict[str, list[float]], summary: Summary, engine: Engine) -> dict[str, Any]:
    fps = {name: round(median(values), 2) for name, values in seen.items()}
    return {
        "ratio": round(fps["stream"] / min(fps["engine"], fps["decode"]), 4),
        "ratio_in_flight": round(fps["stream"] / min(fps["engine_in_flight"], fps["decode"]), 4),
        "fps": fps,
        "rounds": {name: [round(value, 2) for value in values] for name, values in seen.items()},
        "stages_ms": summary.stages_ms,
        "engine": f"{engine.describe().backend} {engine.describe().precision}, {engine.describe().threads} threads",
        "cores": os.cpu_count(),
    }


def main() -> int:
    """Measure decoder, engine and stream in turns and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="folder of photos; the bundle's reference photos if not given")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    add_out_option(parser)
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    report = run(bundle, arguments.images, arguments.frames, arguments.rounds, arguments.backend, arguments.threads)
    print(json.dumps(report, indent=2))
    add_row(arguments.out, "stream_speed", report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
