"""Records and videos: complete, whole, and never over a file by accident."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.errors import StorageError, UsageError
from edge_ad.prediction import Prediction, Verdict
from edge_ad.streaming.frame import Frame, Result
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import RecordsSink, VideoSink, WindowSink, has_display
from tests.streaming.fakes import FakeEngine, FakeSource

_PICTURE = np.full((64, 96, 3), 120, np.uint8)


def _result(index: int, score: float = 1.5, captured_at: float = 0.0) -> Result:
    frame = Frame(index, _PICTURE, captured_at, 1_700_000_000.25, 1.0)
    return Result(frame, Prediction(score, np.zeros((2, 2), np.float32)), Verdict.of(score, 1.0), 1.0, 2.0, 4.5)


def _frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def test_record_says_everything_about_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with RecordsSink(path) as sink:
        sink.begin(FakeSource(1))
        sink.write(_result(7), None)
        assert json.loads(path.read_text()) == {  # on the disk before the next frame
            "frame": 7,
            "time": "2023-11-14T22:13:20.250+00:00",
            "source": "fake source",
            "score": 1.5,
            "threshold": 1.0,
            "normalised": 0.6,
            "verdict": "NG",
            "reason": "",
            "latency_ms": 3.0,
            "age_ms": 4.5,
            "bundle": "",
            "path": "",
            "recipe": "",
            "recipe_hash": "",
            "regions": [],
        }


def test_records_as_csv_have_a_heading_and_the_same_columns(tmp_path: Path) -> None:
    path = tmp_path / "records.csv"
    with RecordsSink(path) as sink:
        sink.begin(FakeSource(1))
        for number in range(3):
            sink.write(_result(number, score=float("nan") if number == 1 else 1.5), None)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["0", "1", "2"]
    assert [row["score"] for row in rows] == ["1.5", "", "1.5"]
    assert [(row["verdict"], row["reason"]) for row in rows] == [("NG", ""), ("NG", "not finite"), ("NG", "")]
    assert rows[0]["source"] == "fake source"
    assert set(rows[0]) == {
        "frame", "time", "source", "score", "threshold", "normalised", "verdict", "reason", "latency_ms", "age_ms",
        "bundle", "path", "recipe", "recipe_hash", "regions",
    }  # fmt: skip


def test_score_that_json_does_not_have_is_null(tmp_path: Path) -> None:
    with RecordsSink(tmp_path / "records.jsonl") as sink:
        sink.begin(FakeSource(1))
        sink.write(_result(0, score=float("inf")), None)
    record = json.loads((tmp_path / "records.jsonl").read_text())
    assert (record["score"], record["verdict"]) == (None, "NG")


def test_stream_writes_one_record_per_frame(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "records.jsonl"
    run_stream(engine, FakeSource(130), threshold=1.0, sinks=[RecordsSink(path)])
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["frame"] for record in records] == list(range(130))
    assert [record["verdict"] for record in records] == ["OK"] * 129 + ["NG"]


def test_full_disk_is_one_clear_error() -> None:
    sink = RecordsSink(Path("/dev/full"), overwrite=True)
    with sink:
        sink.begin(FakeSource(1))
        with pytest.raises(StorageError, match="No space left on device"):
            sink.write(_result(0), None)


def test_disk_that_fills_inside_a_record_keeps_whole_lines(tmp_path: Path) -> None:
    # A limit on the size of files ends a write half-way, as a disk does that fills up.
    program = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.streaming.fakes import FakeEngine, FakeSource
from edge_ad.errors import StorageError
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import RecordsSink
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    with FakeEngine() as engine:
        run_stream(engine, FakeSource(1000), threshold=1.0, sinks=[RecordsSink(Path({str(tmp_path / "r.jsonl")!r}))])
except StorageError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert "cannot be written" in done.stdout
    content = (tmp_path / "r.jsonl").read_text()
    assert content.endswith("\n")
    assert [json.loads(line)["frame"] for line in content.splitlines()] == list(range(content.count("\n")))
    assert content.count("\n") > 10


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_video_has_every_frame_with_its_overlay(tmp_path: Path, engine: FakeEngine, suffix: str) -> None:
    path = tmp_path / f"line{suffix}"
    run_stream(engine, FakeSource(12, size_hw=(48, 64)), threshold=1.0, sinks=[VideoSink(path)])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert _frames(path) == 12


def test_video_is_hidden_until_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "line.mp4"
    with VideoSink(path) as sink:
        sink.begin(FakeSource(1))
        sink.write(_result(0), _PICTURE)
        assert not path.exists()
    assert _frames(path) == 1


def test_video_of_a_stream_that_crashed_can_be_played(tmp_path: Path) -> None:
    path = tmp_path / "line.mp4"
    with FakeEngine(crash_at=9) as engine, pytest.raises(RuntimeError, match="the engine crashed"):
        run_stream(engine, FakeSource(None), threshold=1.0, sinks=[VideoSink(path)])
    assert 0 < _frames(path) < 9


def test_stream_without_frames_leaves_no_video(tmp_path: Path, engine: FakeEngine) -> None:
    run_stream(engine, FakeSource(0), threshold=1.0, sinks=[VideoSink(tmp_path / "line.mp4")])
    assert not list(tmp_path.iterdir())


def test_video_of_a_live_source_lasts_as_long_as_it_did(tmp_path: Path) -> None:
    path = tmp_path / "line.mp4"
    with VideoSink(path) as sink:
        sink.begin(FakeSource(None, is_live=True))
        for number in range(11):  # 10 FPS for a second, in a video of 25 FPS
            sink.write(_result(number, captured_at=5 + number / 10), _PICTURE)
        sink.write(_result(11, captured_at=3600.0), _PICTURE)  # after an outage of an hour
    assert 25 <= _frames(path) <= 28


def test_full_disk_is_noticed_by_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = VideoSink(tmp_path / "line.mp4")
    monkeypatch.setattr("edge_ad.streaming.sinks.video._MARGIN_BYTES", 1 << 62)
    with sink, pytest.raises(StorageError, match=r"line\.mp4.*no space left"):
        sink.begin(FakeSource(1))


@pytest.mark.parametrize("kind", [RecordsSink, VideoSink])
def test_file_that_exists_is_not_overwritten_unasked(tmp_path: Path, kind: type[RecordsSink] | type[VideoSink]) -> None:
    path = tmp_path / "out.avi"
    path.write_text("precious")
    with pytest.raises(UsageError, match="exists"):
        kind(path)
    assert path.read_text() == "precious"
    kind(path, overwrite=True)
    assert path.read_text() == "precious"  # not before the stream begins


def test_output_without_a_folder_or_with_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        RecordsSink(tmp_path / "missing" / "records.jsonl")
    with pytest.raises(UsageError, match="a folder, not a file"):
        RecordsSink(tmp_path)
    with pytest.raises(UsageError, match=r"Known endings"):
        VideoSink(tmp_path / "line.gif")


def test_display_is_looked_for_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_display()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_display()


@pytest.mark.parametrize("before", [None, b'{"frame": 0}\n'])
def test_stream_that_fails_before_its_first_record_leaves_the_file_as_it_was(
    tmp_path: Path, before: bytes | None
) -> None:
    path = tmp_path / "records.jsonl"
    if before is not None:
        path.write_bytes(before)

    def fail() -> None:
        with RecordsSink(path, overwrite=True) as sink:
            sink.begin(FakeSource(1))
            raise StorageError("The video cannot be written.")

    with pytest.raises(StorageError):
        fail()
    assert (path.read_bytes() if path.exists() else None) == before


def test_older_records_are_gone_when_a_stream_ends_without_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"frame": 0}\n')
    with RecordsSink(path, overwrite=True) as sink:
        sink.begin(FakeSource(0))
    assert path.read_bytes() == b""


@pytest.mark.parametrize(("size_hw", "window_wh"), [((48, 64), (64, 48)), ((2160, 3840), (1600, 900))])
def test_the_window_opens_at_the_size_of_the_first_frame(
    size_hw: tuple[int, int], window_wh: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "resizeWindow", lambda _, width, height: sizes.append((width, height)))
    monkeypatch.setattr(cv2, "imshow", lambda *_: None)
    monkeypatch.setattr(cv2, "waitKey", lambda _: -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    monkeypatch.setattr(cv2, "destroyWindow", lambda _: None)
    with WindowSink() as sink:
        sink.begin(FakeSource(2))
        for number in range(2):
            sink.write(_result(number), np.zeros((*size_hw, 3), np.uint8))
        assert not sink.wants_end
    assert sizes == [window_wh]
