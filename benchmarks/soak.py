"""A stream's memory, file descriptors and threads over very many frames, accelerated.

    python -m benchmarks.soak --frames 200000
    python -m benchmarks.soak --frames 20000 --bundle BUNDLE

Small frames go through the whole pipeline as fast as they can: capture, frame health, prepare, engine, judges, JSON
lines, SQLite records, and a lossy sink that is too slow. Without a bundle the engine is a fast stand-in (the mean
brightness); with one it is the real one. Prints JSON; the exit code is 0 when every check holds.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.live_rows import add_out_option, add_row
from edge_ad.bundle import Bundle
from edge_ad.manifest import Threshold
from edge_ad.runtime import Engine, EngineDescription, open_engine
from edge_ad.streaming.filters import FilterOptions
from edge_ad.streaming.frame import Result
from edge_ad.streaming.health import FrameHealth
from edge_ad.streaming.judgement import judges_from_options
from edge_ad.streaming.progress import Progress
from edge_ad.streaming.session import Limits, run_stream
from edge_ad.streaming.sinks import RecordsSink, Sink, records_sink
from edge_ad.streaming.sources import Source
from edge_ad.streaming.statistics import Summary

MOST_MIB_PER_10000 = 1.0
_SIDE = 48
_THRESHOLD = 0.4
_SAMPLES = 400
_WARM_UP_SHARE = 0.2


class BrightnessEngine(Engine):
    """Scores a frame by its mean brightness: next to no time, so that all else is what runs."""

    def __init__(self) -> None:
        threshold = Threshold(
            value=_THRESHOLD,
            rule="of a stand-in",
            false_alarm_rate=0.5,
            false_alarm_bound=1.0,
            confidence=0.5,
            good_images=1,
        )
        super().__init__(EngineDescription("stand-in", "fp32", "none", "1", (32, 32), 1), threshold)

    def _open(self) -> None:
        pass

    def _close(self) -> None:
        pass

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        maps = images[..., 0].astype(np.float32) / np.float32(255)
        return maps.mean(axis=(1, 2), dtype=np.float32), maps


class _NoiseSource(Source):
    """A new noisy frame each time, some bright ones among them; as fast as it is read."""

    def __init__(self, name: str) -> None:
        super().__init__(name, is_live=False)
        self._rng = np.random.default_rng(0)
        self._count = 0

    def open(self) -> None:
        self._count = 0

    def read(self) -> NDArray[np.uint8] | None:
        self._count += 1
        highest = 255 if self._count % 97 == 0 else 120
        return self._rng.integers(0, highest, (_SIDE, _SIDE, 3), dtype=np.uint8)

    def close(self) -> None:
        pass


class _SlowSink(Sink):
    """Takes a millisecond for each frame, and loses what it has no time for."""

    delivery = "lossy"

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        time.sleep(0.001)

    def close(self) -> None:
        pass


@dataclass
class Samples:
    """Takes the process's measures as the stream goes on."""

    every: int
    frames: list[int] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    _next: int = 0
    _process: psutil.Process = field(default_factory=psutil.Process)

    def __call__(self, progress: Progress) -> None:
        """Take a sample when it is due."""
        if progress.frames < self._next:
            return
        self._next = progress.frames + self.every
        self.frames.append(progress.frames)
        self.rss_mib.append(self._process.memory_info().rss / 2**20)
        self.descriptors.append(self._process.num_fds())
        self.threads.append(self._process.num_threads())

    def warm(self, values: list[Any]) -> list[Any]:
        """The samples after the warm-up."""
        return values[int(len(values) * _WARM_UP_SHARE) :]

    def mib_per_10000(self) -> float:
        """Slope of the memory over the frames, by least squares."""
        slope = np.polyfit(self.warm(self.frames), self.warm(self.rss_mib), 1)[0]
        return float(slope) * 10_000


def soak(frames: int, bundle: Path | None) -> dict[str, Any]:
    """Run a stream of so many frames over two sources and judge its process."""
    samples = Samples(max(1, frames // _SAMPLES))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        engine: Engine = BrightnessEngine() if bundle is None else open_engine(Bundle.open(bundle))
        stack.enter_context(engine)
        gc.collect()
        root = Path(folder)
        summary = run_stream(
            engine,
            [_NoiseSource("line 1"), _NoiseSource("line 2")],
            threshold=_THRESHOLD,
            sinks=[RecordsSink(root / "line.jsonl"), records_sink(root / "line.sqlite"), _SlowSink()],
            judges=judges_from_options(part="2/3", cool_down="30f"),
            limits=Limits(max_frames=frames),
            on_progress=samples,
            filters=FilterOptions(make_health=lambda source: FrameHealth(can_freeze=source.is_live)),
        )
        with (root / "line.jsonl").open() as file:
            lines = sum(1 for _ in file)
    return _verdict(summary, samples, lines, time.perf_counter() - started, engine)


def _verdict(summary: Summary, samples: Samples, lines: int, seconds: float, engine: Engine) -> dict[str, Any]:
    descriptors, threads = samples.warm(samples.descriptors), samples.warm(samples.threads)
    middle = len(descriptors) // 2
    checks = {
        "memory_flat": samples.mib_per_10000() < MOST_MIB_PER_10000,
        "no_descriptor_growth": max(descriptors[middle:]) <= max(descriptors[:middle]),
        "threads_constant": len(set(threads)) == 1,
        "every_frame_recorded": lines == summary.frames,
    }
    return {
        "passed": all(checks.values()),
        "checks": checks,
        "engine": f"{engine.describe().backend} {engine.describe().precision}",
        "frames": summary.frames,
        "defective": summary.defective,
        "seconds": round(seconds, 1),
        "fps": summary.fps,
        "mib_per_10000_frames": round(samples.mib_per_10000(), 4),
        "rss_mib": {"after_warm_up": samples.warm(samples.rss_mib)[0], "end": samples.rss_mib[-1]},
        "descriptors": sorted(set(descriptors)),
        "threads": sorted(set(threads)),
        "sink_drops": dict(summary.sink_drops),
        "sources": [row.frames for row in summary.sources],
    }


def main() -> int:
    """Run the soak and print what it showed as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--bundle", type=Path, help="judge with this bundle's engine; a fast stand-in if not given")
    add_out_option(parser)
    arguments = parser.parse_args()
    verdict = soak(arguments.frames, arguments.bundle)
    print(json.dumps(verdict, indent=2))
    add_row(arguments.out, "soak", verdict)
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
