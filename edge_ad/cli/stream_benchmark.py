"""``edge-ad benchmark --stream``: runs the measurement and says what it shows."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from edge_ad.cli.console import note, print_facts, print_json, print_line
from edge_ad.cli.machine import describe_machine
from edge_ad.cli.stream_speed import StreamSpeed, measure_stream, render_video
from edge_ad.runtime.engine import Engine

__all__ = ["benchmark_stream"]

_LEAST_RATIO = 0.95


def benchmark_stream(engine: Engine, bundle: Path, video: str, *, seconds: float, rounds: int, as_json: bool) -> None:
    """Measure an open engine in a stream, and print it.

    Args:
        engine: Open engine.
        bundle: Where it came from.
        video: Path of a video; empty renders one.
        seconds: Time for each measurement over all rounds.
        rounds: Number of rounds.
        as_json: Print JSON.

    Raises:
        DataError: The video cannot be read.
    """
    description = engine.describe()
    note(f"Measuring {description.backend} {description.precision} ({description.source}).")
    with TemporaryDirectory() as folder:
        path = Path(video).expanduser() if video else render_video(Path(folder))
        speed = measure_stream(engine, path, seconds=seconds, rounds=rounds)
    machine = describe_machine([])
    verdict = _verdict(speed)
    if as_json:
        shown = video or "rendered, 1280x720"
        print_json(
            {
                "bundle": bundle,
                "engine": description,
                "machine": machine,
                "video": shown,
                "stream": speed,
                "verdict": verdict,
            }
        )
        return
    print_facts({name.replace("_", " "): value for name, value in vars(speed).items() if not isinstance(value, list)})
    print_line()
    print_line(f"ratio in each round: {_list(speed.ratios)}; of decoded frames: {_list(speed.decoded_ratios)}")
    for line in verdict:
        print_line(line)


def _verdict(speed: StreamSpeed) -> list[str]:
    """What the numbers say, in sentences."""
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


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)
