"""A whole stream: limits, summary, progress, memory, signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.mjpeg_camera import MjpegCamera
from edge_ad.errors import DeviceError
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.session import Limits, Progress, run_stream
from edge_ad.streaming.sinks import RecordsSink
from edge_ad.streaming.sources import source_from_uri
from edge_ad.streaming.statistics import FrameRate, Summary
from tests.streaming.fakes import FakeEngine, FakeSource, ListSink, SilentSource
from tests.streaming.results import PATIENCE_S, wait_until

_ROOT = Path(__file__).parents[2]


def test_video_is_streamed_to_its_end(engine: FakeEngine, make_video: Callable[..., Path]) -> None:
    summary = run_stream(engine, source_from_uri(str(make_video(10))), threshold=0.7)
    assert (summary.ended_by, summary.frames, summary.ok, summary.defective) == ("end of source", 10, 5, 5)
    assert (summary.dropped, summary.gaps, summary.reconnects) == (0, 0, 0)
    assert set(summary.stages_ms) == {"capture", "prepare", "infer", "deliver", "age"}


def test_rate_is_that_of_the_intervals_between_frames() -> None:
    rate = FrameRate()
    assert (rate.fps, rate.recent_fps) == (0.0, 0.0)
    for number in range(41):
        rate.add(100.0 + (0.1 * number if number <= 10 else 1.0 + 0.05 * (number - 10)))
    # Counting frames instead of intervals would give 16.4 in the 2.5 s.
    assert (rate.fps, rate.recent_fps) == (pytest.approx(16.0), pytest.approx(20.0))


def test_rate_of_a_source_is_no_more_than_it_gives(engine: FakeEngine) -> None:
    summary = run_stream(engine, FakeSource(21, is_live=True, interval_s=0.1), threshold=1.0, policy="every")
    assert summary.frames == 21
    # Twenty intervals of 0.1 s; counting 21 frames in them would give 10.5. A busy machine delivers the last one late.
    assert 0 < summary.fps < 10.45


@pytest.mark.parametrize("is_live", [True, False])
def test_ends_after_exactly_so_many_frames(engine: FakeEngine, is_live: bool) -> None:
    source = FakeSource(None, is_live=is_live, interval_s=0.001)
    summary = run_stream(engine, source, threshold=1.0, limits=Limits(max_frames=7))
    assert (summary.frames, summary.ended_by) == (7, "max frames")
    assert source.closes == 1


def test_ends_in_time_even_when_no_frame_comes(engine: FakeEngine) -> None:
    summary = run_stream(engine, SilentSource(), threshold=1.0, limits=Limits(max_seconds=0.2))
    assert (summary.ended_by, summary.frames) == ("max seconds", 0)


def test_source_is_closed_and_records_are_whole_when_the_engine_crashes(tmp_path: Path) -> None:
    source, records = FakeSource(None), tmp_path / "records.jsonl"
    with FakeEngine(crash_at=10) as engine, pytest.raises(RuntimeError, match="the engine crashed"):
        run_stream(engine, source, threshold=1.0, sinks=[RecordsSink(records)])
    assert source.closes == 1
    assert all(json.loads(line) for line in records.read_text().splitlines())


def test_source_that_does_not_open_leaves_no_file(tmp_path: Path, engine: FakeEngine) -> None:
    with pytest.raises(DeviceError):
        run_stream(
            engine,
            source_from_uri("http://127.0.0.1:9/video"),
            threshold=1.0,
            sinks=[RecordsSink(tmp_path / "records.jsonl")],
        )
    assert not list(tmp_path.iterdir())


def test_progress_is_told(engine: FakeEngine) -> None:
    seen: list[Progress] = []
    run_stream(engine, FakeSource(20), threshold=0.1, on_progress=seen.append)
    assert seen[-1].frames == 20
    assert seen[-1].defective == 7
    assert [progress.frames for progress in seen] == sorted(progress.frames for progress in seen)


def _steered(engine: FakeEngine, camera: MjpegCamera, steer: Callable[[ListSink], None]) -> Summary:
    """A stream of a camera that goes on until ``steer``, in a thread of its own, has ended."""
    control, sink, failures = StreamControl(), ListSink(), list[BaseException]()

    def run() -> None:
        try:
            wait_until(lambda: len(sink.results) > 10)
            steer(sink)
        except BaseException as error:
            failures.append(error)
        finally:
            control.stop()

    steering = threading.Thread(target=run)
    steering.start()
    summary = run_stream(engine, source_from_uri(camera.url), threshold=1.0, control=control, sinks=[sink])
    steering.join()
    if failures:
        raise failures[0]
    return summary


def test_camera_that_comes_back_is_in_the_summary(engine: FakeEngine, mjpeg_camera: MjpegCamera) -> None:
    def switch(sink: ListSink) -> None:
        mjpeg_camera.stop()
        wait_until(lambda: [event.kind for event in sink.events] == ["source lost"])
        mjpeg_camera.start()
        wait_until(lambda: [event.kind for event in sink.events] == ["source lost", "source returned"])
        seen = len(sink.results)
        wait_until(lambda: len(sink.results) > seen + 10)

    summary = _steered(engine, mjpeg_camera, switch)
    assert (summary.ended_by, summary.gaps, summary.reconnects) == ("stopped", 1, 1)
    assert 0 < summary.newest_gaps[0].seconds < PATIENCE_S


def test_outage_at_the_end_of_the_stream_is_a_gap_without_a_reconnect(
    engine: FakeEngine, mjpeg_camera: MjpegCamera
) -> None:
    def switch_off(sink: ListSink) -> None:
        mjpeg_camera.stop()
        wait_until(lambda: [event.kind for event in sink.events] == ["source lost"])

    summary = _steered(engine, mjpeg_camera, switch_off)
    assert (summary.gaps, summary.reconnects) == (1, 0)
    assert 0 < summary.gap_seconds < PATIENCE_S


def test_memory_is_flat_over_thousands_of_frames(engine: FakeEngine) -> None:
    sizes: list[int] = []

    def measure(progress: Progress) -> None:
        if progress.frames in (1000, 4000):
            sizes.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        run_stream(engine, FakeSource(4000), threshold=1.0, on_progress=measure)
    finally:
        tracemalloc.stop()
    assert max(sizes) - min(sizes) < 100_000


_PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from benchmarks.mjpeg_camera import MjpegCamera
from tests.streaming.fakes import FakeEngine, FakeSource
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import RecordsSink
with FakeEngine(seconds=0.002) as engine:
    source = FakeSource(None, is_live={is_live})
    seen = lambda progress: progress.frames == 20 and print("running", flush=True)
    summary = run_stream(engine, source, threshold=1.0, sinks=[RecordsSink(Path({records!r}))], on_progress=seen)
print(summary.ended_by, summary.frames)
"""


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize(
    ("number", "ended_by"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "terminated")],
)
def test_signal_ends_the_stream_with_whole_records(
    tmp_path: Path, number: signal.Signals, ended_by: str, is_live: bool
) -> None:
    records = tmp_path / "records.jsonl"
    program = _PROGRAM.format(root=str(_ROOT), records=str(records), is_live=is_live)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        try:
            output, _ = process.communicate(timeout=5 * PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0
    said, frames = output.split()
    assert said == ended_by
    indices = [json.loads(line)["frame"] for line in records.read_text().splitlines()]
    assert len(indices) == int(frames) >= 20
    assert indices == sorted(set(indices))


def test_streaming_imports_no_torch() -> None:
    program = (
        "import sys, edge_ad.cli.stream, edge_ad.streaming.session, edge_ad.streaming.sinks\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'onnx', 'matplotlib'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=5 * PATIENCE_S, check=True
    )
    assert done.stdout.strip() == "[]"


def test_command_imports_nothing_heavy_before_it_runs() -> None:
    program = (
        "import sys, edge_ad.cli.stream\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'cv2', 'numpy', 'openvino', 'pydantic'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=5 * PATIENCE_S, check=True
    )
    assert done.stdout.strip() == "[]"
