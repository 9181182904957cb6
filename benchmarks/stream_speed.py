"""How much of the bare engine's speed is left in a stream, and how old its results are.

    python -m benchmarks.stream_speed --bundle BUNDLE [--video VIDEO] [--threads 1] [--seconds 10] [--rounds 5]

The decoder alone, the engine alone (one frame after the other, and several in flight) and streams over the video, over
decoded frames and over a live source take turns in one process. Without a video, one of 1280x720 is rendered. Prints
JSON; ``verdict`` says in sentences what the numbers mean.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.frames import MemorySource
from benchmarks.live_rows import add_out_option, add_row
from edge_ad.bundle import Bundle
from edge_ad.data.sample_product import render_line_video
from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.latency import pipelined_fps
from edge_ad.images import resize
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.engines import opened_engine
from edge_ad.runtime.timing import LatencyStats, measure
from edge_ad.streaming.pipeline import Policy
from edge_ad.streaming.session import Limits, run_stream
from edge_ad.streaming.sources import Source, source_from_uri
from edge_ad.streaming.statistics import Summary
from edge_ad.strict_json import to_json

__all__ = ["StreamSpeed", "measure_stream", "render_video"]

_SIZE_HW = (720, 1280)
_VIDEO_SECONDS = 4.0
_MOST_DECODED = 60  # 2.8 MB each
_LEAST_RATIO = 0.95


@dataclass(frozen=True)
class StreamSpeed:
    """Medians over rounds in which all of it took turns in one process.

    Attributes:
        engine_fps: Frames of the input size through the engine, several in flight: what a stream cannot exceed.
        engine_one_fps: The same, one frame after the other: batch 1, as latencies are measured.
        decode_fps: The decoder alone, in one thread.
        decode_cpu_ms: Processor time of one decoded frame: on a CPU engine's own cores it is the engine's loss.
        engine_cpu_ms: Processor time of one frame in the engine alone; who else uses the machine
            hardly touches it.
        stream_cpu_ms: Processor time of one frame in the stream over the file, decoding included.
        decoded_stream_cpu_ms: The same over decoded frames.
        prepare_ms: Resize of one frame to the input size.
        stream_fps: The stream over the file, every frame.
        decoded_stream_fps: The stream over frames that are decoded already.
        ratio: ``stream_fps / engine_fps``.
        decoded_ratio: ``decoded_stream_fps / engine_fps``.
        ratio_to_one: ``stream_fps / engine_one_fps``; a stream has several frames in flight and may exceed 1.
        decoded_ratio_to_one: ``decoded_stream_fps / engine_one_fps``.
        ratios: The first ratio in each round: what it may be expected to vary by.
        decoded_ratios: The second one in each round.
        is_decode_the_limit: Whether the decoder alone is slower than the engine alone.
        engine_p50_ms: Median latency of the engine, one frame at a time.
        engine_p99_ms: 99th percentile of the same.
        frame_ms: Interval of the live source.
        age_p50_ms: Median time from capture to result of a live source that is faster than the engine.
        age_p99_ms: 99th percentile of the same.
        age_limit_ms: ``2 * engine_p99_ms + frame_ms``.
        rounds: Number of rounds.
    """

    engine_fps: float
    engine_one_fps: float
    decode_fps: float
    decode_cpu_ms: float
    engine_cpu_ms: float
    stream_cpu_ms: float
    decoded_stream_cpu_ms: float
    prepare_ms: float
    stream_fps: float
    decoded_stream_fps: float
    ratio: float
    decoded_ratio: float
    ratio_to_one: float
    decoded_ratio_to_one: float
    ratios: list[float]
    decoded_ratios: list[float]
    is_decode_the_limit: bool
    engine_p50_ms: float
    engine_p99_ms: float
    frame_ms: float
    age_p50_ms: float
    age_p99_ms: float
    age_limit_ms: float
    rounds: int


def render_video(folder: Path) -> Path:
    """Render a line of parts, 1280×720."""
    path = folder / "line.mp4"
    render_line_video(path, seconds=_VIDEO_SECONDS, size_hw=_SIZE_HW)
    return path


def measure_stream(engine: Engine, video: Path, *, seconds: float, rounds: int) -> StreamSpeed:
    """Measure an open engine alone and in streams, in turns.

    Args:
        engine: Open engine.
        video: Video file.
        seconds: Time for each measurement over all rounds, about.
        rounds: Number of rounds, at least 1.

    Raises:
        DataError: The video cannot be read.
    """
    bench = _Bench(engine, video, seconds / rounds)
    for index in range(rounds):
        bench.run_round(reverse=index % 2 == 1)
    return bench.result()


class _Bench:
    def __init__(self, engine: Engine, video: Path, seconds: float) -> None:
        self._engine, self._video, self._seconds = engine, video, seconds
        self._size_hw = engine.describe().input_size_hw
        with source_from_uri(str(video)) as source:
            read = (source.read() for _ in range(_MOST_DECODED))
            self._frames = [image for image in read if image is not None]
        self._ready = [resize(image, self._size_hw)[np.newaxis] for image in self._frames]
        pipelined_fps(engine, cycle(self._ready), 0.2)
        latency = measure(self._one, min_runs=10, min_seconds=0.2)
        # Faster than the engine, as a camera that always has a newer frame; no faster than cameras are.
        self._interval_s = max(1 / 240, latency.p50_ms / 1e3 / 2)
        self._seen: dict[str, list[float]] = {}
        self._latencies: list[LatencyStats] = []
        self._next = cycle(self._ready)

    def run_round(self, *, reverse: bool) -> None:
        steps = (self._engine_alone, self._stream_file, self._stream_memory, self._stream_live, self._decode)
        for step in reversed(steps) if reverse else steps:
            step()

    def result(self) -> StreamSpeed:
        middle = {name: median(values) for name, values in self._seen.items()}
        p99 = median(latency.p99_ms for latency in self._latencies)
        frame_ms = self._interval_s * 1e3
        ratios = {name: self._ratios(name, "engine") for name in ("stream", "decoded_stream")}
        to_one = {name: median(self._ratios(name, "engine_one")) for name in ("stream", "decoded_stream")}
        return StreamSpeed(
            engine_fps=middle["engine"],
            engine_one_fps=middle["engine_one"],
            decode_fps=middle["decode"],
            decode_cpu_ms=middle["decode_cpu_ms"],
            engine_cpu_ms=middle["engine_cpu_ms"],
            stream_cpu_ms=middle["stream_cpu_ms"],
            decoded_stream_cpu_ms=middle["decoded_stream_cpu_ms"],
            prepare_ms=middle["prepare_ms"],
            stream_fps=middle["stream"],
            decoded_stream_fps=middle["decoded_stream"],
            ratio=median(ratios["stream"]),
            decoded_ratio=median(ratios["decoded_stream"]),
            ratio_to_one=to_one["stream"],
            decoded_ratio_to_one=to_one["decoded_stream"],
            ratios=ratios["stream"],
            decoded_ratios=ratios["decoded_stream"],
            is_decode_the_limit=middle["decode"] < middle["engine"],
            engine_p50_ms=median(latency.p50_ms for latency in self._latencies),
            engine_p99_ms=p99,
            frame_ms=frame_ms,
            age_p50_ms=middle["age_p50_ms"],
            age_p99_ms=middle["age_p99_ms"],
            age_limit_ms=2 * p99 + frame_ms,
            rounds=len(self._latencies),
        )

    def _ratios(self, name: str, engine: str) -> list[float]:
        """Of neighbours in time: a machine that is shared is not the same in every round."""
        return [ours / alone for ours, alone in zip(self._seen[name], self._seen[engine], strict=True)]

    def _one(self) -> None:
        self._engine.infer(self._ready[0])

    def _engine_alone(self) -> None:
        started, cpu = time.perf_counter(), time.process_time()
        fps = pipelined_fps(self._engine, cycle(self._ready), self._seconds)
        frames = fps * (time.perf_counter() - started)
        self._note("engine", fps)
        self._note("engine_cpu_ms", (time.process_time() - cpu) * 1e3 / frames)
        runs = {"min_runs": 20, "warm_up_runs": 2}
        one = measure(lambda: self._engine.infer(next(self._next)), min_seconds=self._seconds, warm_up_ms=0.0, **runs)
        self._latencies.append(one)
        self._note("engine_one", one.fps)

    def _stream_file(self) -> None:
        source = source_from_uri(str(self._video))
        self._note("stream", self._stream(source, "every", self._seconds, cpu_of="stream").fps)

    def _stream_memory(self) -> None:
        summary = self._stream(
            MemorySource(self._frames, seconds=self._seconds), "every", None, cpu_of="decoded_stream"
        )
        self._note("decoded_stream", summary.fps)
        self._note("prepare_ms", summary.stages_ms["prepare"]["p50_ms"])

    def _stream_live(self) -> None:
        source = MemorySource(self._frames, interval_s=self._interval_s, seconds=self._seconds)
        ages = self._stream(source, "newest", None).stages_ms["age"]
        self._note("age_p50_ms", ages["p50_ms"])
        self._note("age_p99_ms", ages["p99_ms"])

    def _decode(self) -> None:
        with source_from_uri(str(self._video)) as source:
            source.read()
            frames, cpu, started = 0, time.process_time(), time.perf_counter()
            while time.perf_counter() - started < self._seconds and source.read() is not None:
                frames += 1
            elapsed = time.perf_counter() - started
        self._note("decode", frames / elapsed)
        self._note("decode_cpu_ms", (time.process_time() - cpu) * 1e3 / max(1, frames))

    def _stream(self, source: Source, policy: Policy, max_seconds: float | None, *, cpu_of: str = "") -> Summary:
        cpu, limits = time.process_time(), Limits(max_seconds=max_seconds)
        threshold = self._engine.threshold.value
        summary = run_stream(self._engine, source, threshold=threshold, policy=policy, limits=limits)
        if cpu_of:  # the three frames of the warm-up are frames too
            self._note(f"{cpu_of}_cpu_ms", (time.process_time() - cpu) * 1e3 / (summary.frames + 3))
        return summary

    def _note(self, name: str, value: float) -> None:
        self._seen.setdefault(name, []).append(value)


def _verdict(speed: StreamSpeed) -> list[str]:
    """Put the numbers into sentences."""
    slower = "decoding" if speed.is_decode_the_limit else "the engine"
    is_kept = "kept" if speed.age_p99_ms <= speed.age_limit_ms else "not kept"
    return [
        f"Alone, the engine makes {speed.engine_one_fps:.1f} frames per second one after the other and "
        f"{speed.engine_fps:.1f} with several in flight, the decoder {speed.decode_fps:.1f} in one thread: {slower} is "
        "the slower of the two.",
        f"The stream runs at {speed.ratio:.3f} of the engine with several in flight over the file, at "
        f"{speed.decoded_ratio:.3f} over decoded frames; at {speed.ratio_to_one:.3f} and "
        f"{speed.decoded_ratio_to_one:.3f} of the engine one frame after the other.",
        *_why_slower(speed),
        f"A result is {speed.age_p99_ms:.1f} ms old at the 99th percentile; two engine times (99th percentile) and a "
        f"frame are {speed.age_limit_ms:.1f} ms: {is_kept}.",
    ]


def _why_slower(speed: StreamSpeed) -> list[str]:
    if speed.is_decode_the_limit:
        return ["Decoding is the limit over the file: what the stream takes of the engine is seen over decoded frames."]
    if speed.ratio >= _LEAST_RATIO:
        return []
    rest = max(0.0, speed.stream_cpu_ms - speed.engine_cpu_ms - speed.decode_cpu_ms - speed.prepare_ms)
    return [
        f"A frame of the file takes {speed.stream_cpu_ms:.2f} ms of processor time: {speed.engine_cpu_ms:.2f} in the "
        f"engine, {speed.decode_cpu_ms:.2f} to decode, {speed.prepare_ms:.2f} to resize, {rest:.2f} for all else.",
        "Where the engine uses all cores, decoding is the limit: "
        f"{speed.engine_cpu_ms / speed.stream_cpu_ms:.3f} is what can be had over the file, and "
        f"{speed.engine_cpu_ms / speed.decoded_stream_cpu_ms:.3f} over decoded frames. Fewer threads for the engine "
        "(--threads) or a decoder in hardware leave it its cores.",
    ]


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what the command line names."""
    bundle = Bundle.open(arguments.bundle)
    choice = {"backend": arguments.backend, "precision": arguments.precision, "threads": arguments.threads}
    with TemporaryDirectory() as folder, opened_engine(bundle, **choice) as engine:
        video = render_video(Path(folder)) if arguments.video is None else arguments.video
        speed = measure_stream(engine, video, seconds=arguments.seconds, rounds=arguments.rounds)
        return {
            "bundle": str(arguments.bundle),
            "engine": asdict(engine.describe()),
            "video": "rendered, 1280x720" if arguments.video is None else str(arguments.video),
            "stream": asdict(speed),
            "verdict": _verdict(speed),
        }


def main() -> int:
    """Measure decoder, engine and streams in turns and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--video", type=Path, help="video file; one is rendered if not given")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the engine; 0 leaves it to the backend")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each measurement over all rounds")
    parser.add_argument("--rounds", type=int, default=5)
    add_out_option(parser)
    arguments = parser.parse_args()
    try:
        report = run(arguments)
    except EdgeAdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(to_json(report, indent=2))
    add_row(arguments.out, "benchmark_stream", report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
