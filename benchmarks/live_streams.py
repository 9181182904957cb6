"""Two promises of live streams, on a real engine: no backlog behind a slow one, and fairness between four sources.

    python -m benchmarks.live_streams --bundle BUNDLE --seconds 20
    python -m benchmarks.live_streams --bundle BUNDLE --only slow --seconds 300
    python -m benchmarks.live_streams --only slow --seconds 300

1. A live source of 60 FPS with an engine held to 25 FPS: the age of results stays at most two engine times, in the last
   minute as in the first, and every frame is accounted for. Without a bundle a stand-in takes the 40 ms, as a device
   beside the processor would: who else uses the machine makes it no slower.
2. Four live 1280×720 sources against one, with the engine as fast as it is, in turns: frames per second together, and
   the spread between the sources.

Prints JSON; the exit code is 0 when every check holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.frames import MemorySource, passing_parts, photos
from benchmarks.live_rows import add_out_option, add_row
from edge_ad.bundle import Bundle
from edge_ad.manifest import Threshold
from edge_ad.runtime import Engine, EngineDescription, open_engine
from edge_ad.streaming.frame import Result
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import Sink

_SIZE_HW = (720, 1280)
_SOURCE_FPS = 60.0
_ENGINE_MS = 40.0
_SOURCES = 4
_MOST_UNFAIR = 0.10
_PERIODS = 5


class _BrightnessEngine(Engine):
    """Scores a frame by its mean brightness: next to no time of its own."""

    def __init__(self) -> None:
        threshold = Threshold(
            value=0.4,
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


class _Throttled(Engine):
    """An engine that takes at least so long for a frame, as a slower device does."""

    def __init__(self, engine: Engine, least_ms: float) -> None:
        super().__init__(engine.describe(), engine.threshold)
        self._engine, self._least_s = engine, least_ms / 1e3
        self.took_ms: list[float] = []

    def _open(self) -> None:
        pass

    def _close(self) -> None:
        pass

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        started = time.perf_counter()
        predictions = self._engine.infer(images)
        time.sleep(max(0.0, started + self._least_s - time.perf_counter()))
        self.took_ms.append((time.perf_counter() - started) * 1e3)
        return np.array([p.score for p in predictions], np.float32), np.stack([p.anomaly_map for p in predictions])


class _Ages(Sink):
    """How old each result was."""

    def __init__(self) -> None:
        self.ms: list[float] = []

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        self.ms.append(result.age_ms)

    def close(self) -> None:
        pass


def slow_engine(engine: Engine, images: list[NDArray[np.uint8]], seconds: float) -> dict[str, Any]:
    """A fast live source and an engine that cannot keep up."""
    source = MemorySource(images, interval_s=1 / _SOURCE_FPS, seconds=seconds)
    slow, ages = _Throttled(engine, _ENGINE_MS), _Ages()
    with slow:
        summary = run_stream(slow, source, threshold=engine.threshold.value, sinks=[ages])
        engine_ms = {name: float(np.percentile(slow.took_ms[3:], at)) for name, at in (("p50", 50), ("p99", 99))}
    count = source.source_count
    periods = [float(np.percentile(part, 99)) for part in np.array_split(ages.ms, _PERIODS) if len(part)]
    return {
        "seconds": summary.seconds,
        "source_fps": round((count or 0) / summary.seconds, 2),
        "fps": summary.fps,
        "source_count": count,
        "processed": summary.frames,
        "dropped": summary.dropped,
        "duplicates": summary.duplicates,
        "engine_p50_ms": round(engine_ms["p50"], 2),
        "engine_p99_ms": round(engine_ms["p99"], 2),
        "age_p50_ms": round(float(np.median(ages.ms)), 2),
        "age_p99_ms": round(float(np.percentile(ages.ms, 99)), 2),
        "age_max_ms": round(max(ages.ms), 2),
        "age_p99_ms_by_fifth": [round(value, 2) for value in periods],
        "checks": {
            "age": max(periods) <= 2 * engine_ms["p99"],
            "exact_count": summary.frames + summary.dropped + summary.duplicates == count,
        },
    }


def four_sources(engine: Engine, images: list[NDArray[np.uint8]], seconds: float, rounds: int) -> dict[str, Any]:
    """One source and four, in turns; each faster than the engine."""
    seen: dict[int, list[float]] = {1: [], _SOURCES: []}
    frames = [0] * _SOURCES
    for index in range(rounds):
        for count in (1, _SOURCES) if index % 2 == 0 else (_SOURCES, 1):
            sources = [
                MemorySource(images, interval_s=1 / _SOURCE_FPS, seconds=seconds / rounds, name=f"line {number}")
                for number in range(count)
            ]
            summary = run_stream(engine, sources, threshold=engine.threshold.value)
            seen[count].append(summary.fps)
            if count == _SOURCES:
                frames = [sum(pair) for pair in zip(frames, (row.frames for row in summary.sources), strict=True)]
    spread = (max(frames) - min(frames)) / max(frames)
    ratio = median(four / one for one, four in zip(seen[1], seen[_SOURCES], strict=True))
    return {
        "single_fps": seen[1],
        "four_fps": seen[_SOURCES],
        "ratio": round(ratio, 4),
        "frames": frames,
        "spread": round(spread, 4),
        "checks": {"total": ratio >= 1.0, "fair": spread <= _MOST_UNFAIR},
    }


def _real(root: Path, photos_in: Path | None, backend: str) -> tuple[Engine, list[NDArray[np.uint8]]]:
    bundle = Bundle.open(root)
    return open_engine(bundle, backend=backend), list(passing_parts(photos(bundle, photos_in, _SIZE_HW), 20))


def _stand_in() -> tuple[Engine, list[NDArray[np.uint8]]]:
    noise = np.random.default_rng(0).integers(0, 120, (*_SIZE_HW, 3), dtype=np.uint8)
    return _BrightnessEngine(), list(passing_parts([noise], 20))


def main() -> int:
    """Measure both and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="without one a stand-in judges, --only slow")
    parser.add_argument("--images", type=Path, help="folder of photos; the bundle's reference photos if not given")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each of the two")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--only", choices=["slow", "four"], help="one of the two")
    add_out_option(parser)
    arguments = parser.parse_args()
    if arguments.bundle is None and arguments.only != "slow":
        parser.error("four sources need a --bundle")
    opened = _stand_in() if arguments.bundle is None else _real(arguments.bundle, arguments.images, arguments.backend)
    report: dict[str, Any] = {}
    with opened[0] as engine:
        images = opened[1]
        report["engine"] = f"{engine.describe().backend} {engine.describe().precision}"
        if arguments.only != "four":
            report["slow_engine"] = slow_engine(engine, images, arguments.seconds)
        if arguments.only != "slow":
            report["four_sources"] = four_sources(engine, images, arguments.seconds, arguments.rounds)
    print(json.dumps(report, indent=2))
    add_row(arguments.out, "live_streams", report)
    parts = [part for name, part in report.items() if name != "engine"]
    return 0 if all(value for part in parts for value in part["checks"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
