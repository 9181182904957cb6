"""The stream benchmarks run and judge."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.runtime.tiny_bundle import tiny_bundle

_MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    images = tmp_path / "photos"
    images.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(images / "part.png"), noise)
    bundle = tiny_bundle(tmp_path / "bundle")
    return ["--bundle", str(bundle.root), "--images", str(images), "--backend", "onnxruntime", "--threads", "1"]


def test_a_stream_is_measured_against_the_engine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import stream_speed
    from edge_ad.data.sample_product import render_line_video

    video, rows = tmp_path / "line.mp4", tmp_path / "rows.jsonl"
    render_line_video(video, seconds=1, size_hw=(64, 64))
    bundle = tiny_bundle(tmp_path / "bundle")
    words = ["--bundle", str(bundle.root), "--backend", "onnxruntime", "--seconds", "0.4", "--rounds", "2"]
    monkeypatch.setattr(sys, "argv", ["stream_speed", *words, "--video", str(video), "--out", str(rows)])
    assert stream_speed.main() == 0
    shown = json.loads(capsys.readouterr().out)
    stream = shown["stream"]
    assert stream["rounds"] == len(stream["ratios"]) == 2
    rates = ("engine_fps", "engine_one_fps", "decode_fps", "stream_fps", "decoded_stream_fps")
    assert min(stream[name] for name in rates) > 0
    assert 0 < stream["age_p50_ms"] <= stream["age_p99_ms"]
    assert stream["age_limit_ms"] == pytest.approx(2 * stream["engine_p99_ms"] + stream["frame_ms"])
    assert any("of the engine one frame after the other" in line for line in shown["verdict"])
    assert json.loads(rows.read_text())["benchmark"] == "benchmark_stream"


def test_stream_speed_needs_a_video_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import stream_speed

    bundle = tiny_bundle(tmp_path / "bundle")
    words = ["--bundle", str(bundle.root), "--backend", "onnxruntime", "--video", "gone.mp4"]
    monkeypatch.setattr(sys, "argv", ["stream_speed", *words])
    assert stream_speed.main() == 2
    assert "gone.mp4" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(_MOSQUITTO is None, reason="there is no mosquitto here: apt-get install mosquitto")
def test_soak_with_a_real_engine_records_every_frame_refuses_bad_bundles_and_ends_with_exit_code_0() -> None:
    # In a process of its own: it ends by SIGTERM, and threads that an earlier test leaves to end would be counted.
    plan = ["--frames", "3000", "--swaps", "8", "--refused", "8", "--restarts", "1"]
    command = [sys.executable, "-m", "benchmarks.soak", *plan]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[2])
    assert done.stdout, done.stderr
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["surprises"]) == (0, []), done.stderr
    assert all(verdict["checks"].values()), done.stderr
    assert (verdict["judged"], verdict["events"]["bundle swapped"], verdict["events"]["bundle refused"]) == (3000, 8, 8)


@pytest.mark.skipif(_MOSQUITTO is None, reason="there is no mosquitto here: apt-get install mosquitto")
def test_soak_fails_when_its_runs_do(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    plan = ["--runs", "2", "--frames", "400", "--swaps", "2", "--refused", "0", "--restarts", "0"]
    command = [sys.executable, "-m", "benchmarks.soak", *plan, "--threads", "-1", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[2])
    assert done.returncode == 1
    (row,) = map(json.loads, out.read_text().splitlines())
    assert (row["benchmark"], row["exit_codes"]) == ("soak_runs", [1, 1])


def test_live_streams_count_exactly_and_forget_no_source(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import live_streams

    words = [*arguments[:-2], "--seconds", "1.5", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["live_streams", *words])
    live_streams.main()
    report = json.loads(capsys.readouterr().out)
    assert report["slow_engine"]["checks"]["exact_count"]
    assert report["slow_engine"]["processed"] > 0
    assert report["slow_engine"]["dropped"] > 0
    assert 0 <= report["four_sources"]["spread"] < 1


def test_slow_stand_in_leaves_no_backlog_and_the_row_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import live_streams

    out = tmp_path / "rows.jsonl"
    monkeypatch.setattr(sys, "argv", ["live_streams", "--only", "slow", "--seconds", "2", "--out", str(out)])
    live_streams.main()
    seen = json.loads(capsys.readouterr().out)["slow_engine"]
    assert seen["checks"]["exact_count"]
    assert 0 < seen["processed"] <= 2 * 25 + 5
    assert seen["dropped"] > seen["processed"] / 2
    (row,) = map(json.loads, out.read_text().splitlines())
    assert (row["benchmark"], row["slow_engine"]) == ("live_streams", seen)
    assert row["machine"]["cores"] >= 1


@pytest.mark.slow
def test_live_stream_survives_its_outage(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import live_stream

    monkeypatch.setattr(sys, "argv", ["live_stream", *arguments, "--seconds", "20"])
    code = live_stream.main()
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["checks"]["one_gap"]
    # Whether it reconnected soon, and which share of the frames came, is the machine's on which the tests run.
    assert (code, verdict["passed"]) in ((0, True), (1, False))
    assert verdict["passed"] is all(verdict["checks"].values())
    assert verdict["summary"]["reconnects"] == 1
