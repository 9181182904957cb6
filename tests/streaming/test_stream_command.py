"""``edge-ad stream`` from its arguments to its exit code, on a real bundle."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.errors import DeviceError, EdgeAdError
from edge_ad.runtime.onnxruntime.backend import OnnxRuntimeEngine
from edge_ad.streaming.control import BundleFacts
from edge_ad.streaming.operator_thresholds import OperatorThresholds
from tests.runtime.tiny_bundle import deploy_graph, graph_info, tiny_bundle
from tests.streaming.results import PATIENCE_S, wait_until

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("work") / "plate").root


def _stream(bundle: Path, *arguments: str) -> int:
    common = ("--bundle", str(bundle), "--backend", "onnxruntime", "--threads", "1", "--headless", "--no-frame-health")
    return main(["stream", *common, *arguments])


def test_video_is_judged_and_the_summary_is_json_on_stdout(
    bundle: Path, make_video: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, records, painted = make_video(6), tmp_path / "records.jsonl", tmp_path / "painted.mp4"
    outputs = ("--save-records", str(records), "--save-video", str(painted))
    assert _stream(bundle, "--source", str(video), *outputs, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["ended_by"]) == (6, "end of source")
    assert len(records.read_text().splitlines()) == 6
    assert painted.stat().st_size > 0


def test_summary_for_people_names_frames_and_stages(
    bundle: Path, make_video: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _stream(bundle, "--source", str(make_video(4)), "--max-frames", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["frames", "3"] for line in lines)
    assert any(line.startswith("infer") for line in lines)


def test_given_threshold_replaces_that_of_the_bundle(
    bundle: Path, make_video: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for threshold, defective in (("-1e9", 4), ("1e9", 0)):
        assert _stream(bundle, "--source", str(make_video(4)), "--json", "--threshold", threshold) == 0
        assert json.loads(capsys.readouterr().out)["defective"] == defective


def test_what_an_operator_set_is_used_by_the_next_stream_unless_it_is_ignored(
    bundle: Path,
    make_video: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGE_AD_STATE", str(tmp_path / "state"))
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    facts = BundleFacts(name="", hash=digest, method="", precision="fp32", backend="", threshold=0.5)
    OperatorThresholds().keep(facts, -1e9, "Ada")
    assert _stream(bundle, "--source", str(make_video(4)), "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["defective"] == 4
    assert "set by Ada" in err
    assert _stream(bundle, "--source", str(make_video(4)), "--json", "--threshold", "1e9") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["defective"] == 0
    assert "Ada" not in err
    assert _stream(bundle, "--source", str(make_video(4)), "--json", "--bundle-threshold") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["threshold"] == Bundle.open(bundle).graph("fp32").threshold.value
    assert "Ada" not in err


def test_newest_bundle_here_is_taken_and_named(
    bundle: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(bundle.parent)
    arguments = ["stream", "--backend", "onnxruntime", "--source", str(make_video(5)), "--headless"]
    assert main(arguments) == 0
    assert str(bundle) in capsys.readouterr().err


def test_two_sources_region_trigger_and_batch_together(
    bundle: Path, make_video: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = make_video(6)
    second = first.rename(tmp_path / "second.mp4")
    first = make_video(9)
    sources = ("--source", str(first), "--source", str(second))
    assert _stream(bundle, *sources, "--region", "8,8,32,24", "--trigger", "every:3", "--batch", "2", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert [row["frames"] for row in summary["sources"]] == [3, 2]
    assert summary["unjudged"] == {"not triggered": 10}
    assert len(summary["bundle"]) == 64


def test_black_frames_are_reported_and_not_judged(
    bundle: Path, make_video: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _stream(bundle, "--source", str(make_video(5)), "--frame-health", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["unjudged"]) == (3, {"black": 2})


def test_files_of_which_no_frame_could_be_judged_are_an_error(
    bundle: Path, make_video: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(make_video(2))
    assert _stream(bundle, "--source", video, "--frame-health", "--json") == 2
    shown = capsys.readouterr()
    assert json.loads(shown.out)["unjudged"] == {"black": 2}
    assert "was judged: 2 black." in shown.err
    assert _stream(bundle, "--source", video, "--no-frame-health") == 0


def test_records_and_ng_images_of_a_stream_are_kept(
    bundle: Path, make_video: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = ("--records", str(tmp_path / "line.sqlite"), "--save-ng", str(tmp_path / "ng"), "--threshold", "-1e9")
    assert _stream(bundle, "--source", str(make_video(4)), *outputs, "--json") == 0
    assert json.loads(capsys.readouterr().out)["defective"] == 4
    assert len(list((tmp_path / "ng").rglob("*.png"))) == 4
    assert (tmp_path / "line.sqlite").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "metrics"),
    [(("--metrics",), ""), (("--metrics", "--headless"), ""), (("--metrics", "1.2.3.4:5"), "1.2.3.4:5"), ((), None)],
)
def test_address_option_takes_an_address_or_none(
    words: tuple[str, ...], metrics: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_ad.cli import stream_setup
    from edge_ad.cli.stream_outputs import Outputs

    asked: list[str | None] = []

    def note_and_stop(outputs: Outputs, server: object) -> list[object]:
        asked.append(outputs.metrics)
        raise EdgeAdError("enough")

    monkeypatch.setattr(stream_setup, "open_sinks", note_and_stop)
    assert main(["stream", "--source", "x.mp4", *words]) == 1
    assert asked == [metrics]


def test_missing_display_is_said(
    bundle: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edge_ad.streaming.sinks.has_display", lambda: False)
    arguments = ["stream", "--bundle", str(bundle), "--backend", "onnxruntime", "--source", str(make_video(5))]
    assert main(arguments) == 0
    assert "No display" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        ((), 2, "source"),
        (("--source", "x.mp4", "--source", "x.mp4"), 2, "given twice"),
        (("--source", "gone.mp4", "--width", "640"), 2, "width"),
        (("--source", "gone.mp4", "--region", "1,2,3"), 2, "region"),
        (("--source", "gone.mp4", "--trigger", "sometimes"), 2, "trigger"),
        (("--source", "gone.mp4", "--part", "5"), 2, "5"),
        (("--source", "gone.mp4", "--records", "line.jsonl"), 2, "not a database"),
        (("--source", "gone.mp4", "--web-token", "x" * 20), 2, "--web"),
        (("--source", "gone.mp4", "--web-host", "line.example"), 2, "--web"),
        (("--source", "gone.mp4", "--web", "127.0.0.1:0", "--web-host", "https://line.example"), 2, "host name"),
        (("--source", "gone.mp4", "--batch", "0"), 2, "batch"),
        (("--camera", "63"), 3, "Camera 63"),
        (("--source", "gone.mp4"), 2, "gone.mp4"),
        (("--source", "http://127.0.0.1:9/video"), 3, "does not answer"),
        (("--source", "gone.mp4", "--save-video", "line.gif"), 2, "line.gif"),
        (("--camera", "0", "--max-frames", "0"), 2, "max-frames"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(
    bundle: Path, arguments: tuple[str, ...], exit_code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _stream(bundle, *arguments) == exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]


@pytest.mark.parametrize(
    ("numbers", "ended_by", "exit_code"),
    [
        ([signal.SIGINT], "interrupted", 130),
        ([signal.SIGTERM], "terminated", 0),
        ([signal.SIGHUP, signal.SIGHUP], "terminated", 0),  # from the kernel and from the shell
        ([signal.SIGTERM, signal.SIGHUP], "terminated", 0),  # as systemd does with SendSIGHUP=yes
    ],
)
def test_a_signal_prints_the_summary_and_completes_the_files(
    numbers: list[signal.Signals],
    ended_by: str,
    exit_code: int,
    bundle: Path,
    make_video: Callable[..., Path],
    tmp_path: Path,
) -> None:
    records = tmp_path / "records.jsonl"
    video = make_video(3000)
    command = [sys.executable, "-m", "edge_ad", "stream", "--bundle", str(bundle), "--backend", "onnxruntime"]
    command += ["--source", str(video), "--headless", "--json", "--save-records", str(records)]
    command += ["--save-video", str(tmp_path / "painted.mp4")]  # slow enough to be interrupted
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    with process:
        try:
            _wait_for_lines(records, 5, process)
            for number in numbers:
                process.send_signal(number)
            output, errors = process.communicate(timeout=5 * PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == exit_code, errors
    summary = json.loads(output)
    assert summary["ended_by"] == ended_by
    assert len([json.loads(line) for line in records.read_text().splitlines()]) == summary["frames"]
    assert 5 <= summary["frames"] < 3000
    painted = cv2.VideoCapture(str(tmp_path / "painted.mp4"))
    assert painted.read()[0]
    painted.release()


def test_summary_is_told_before_a_device_fails_to_close(
    bundle: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(engine: OnnxRuntimeEngine) -> None:
        raise DeviceError("The device did not answer while the engine was closed.")

    monkeypatch.setattr(OnnxRuntimeEngine, "_close", fail)
    assert _stream(bundle, "--source", str(make_video(4)), "--json") == DeviceError.exit_code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["frames"] == 4
    assert "did not answer" in captured.err


def _wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    def are_there() -> bool:
        assert process.poll() is None, "the stream wrote no records"
        return path.exists() and path.read_text().count("\n") >= count

    wait_until(are_there)


def _blind_to_bright_frames(root: Path) -> Bundle:
    """A bundle whose engine gives NaN for frames of a mean above 0.67, and what was recorded for all others."""
    model = onnx.load_from_string(deploy_graph())
    nodes = model.graph.node
    nodes[-1].output[0] = "highest"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.67), "bright"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.0), "nothing"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3], np.int64), "all"))
    nodes.extend(
        [
            helper.make_node("ReduceMean", ["unit", "all"], ["mean"], keepdims=0),
            helper.make_node("Sub", ["bright", "mean"], ["room"]),
            helper.make_node("Sqrt", ["room"], ["root"]),
            helper.make_node("Mul", ["root", "nothing"], ["addend"]),
            helper.make_node("Add", ["highest", "addend"], ["score"]),
        ]
    )
    onnx.checker.check_model(model, full_check=True)
    return tiny_bundle(root).with_graph("fp32", graph_info(), {"model.onnx": model.SerializeToString()})


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_frames_for_which_the_engine_gives_no_number_are_ng_everywhere(
    tmp_path: Path, make_video: Callable[..., Path], capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    bundle, video = _blind_to_bright_frames(tmp_path / "bundle").root, make_video(12)  # frame k has brightness 20 k
    arguments = ["stream", "--bundle", str(bundle), "--backend", backend, "--source", str(video), "--headless"]
    outputs = ["--records", str(tmp_path / "r.sqlite"), "--save-records", str(tmp_path / "r.jsonl")]
    assert main([*arguments, *outputs, "--no-frame-health", "--threshold", "1e9", "--json"]) == 0
    shown = capsys.readouterr()
    summary = json.loads(shown.out)
    assert (summary["frames"], summary["ok"], summary["defective"], summary["not_finite"]) == (12, 9, 3, 3)
    assert "alarm: The score or the anomaly map of frame 9 is not finite" in shown.err
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert main(["records", "list", str(tmp_path / "r.sqlite"), "--json"]) == 0
    stored = json.loads(capsys.readouterr().out)
    for rows in (lines, stored):
        assert [row["verdict"] for row in rows] == ["OK"] * 9 + ["NG"] * 3
        assert [(row["score"] is None, row["reason"]) for row in rows[9:]] == [(True, "not finite")] * 3
    assert main(["records", "list", str(tmp_path / "r.sqlite")]) == 0
    assert capsys.readouterr().out.count("NG: not finite") == 3


def test_a_bundle_without_recorded_outputs_judges_only_when_asked(
    tmp_path: Path, make_video: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, video = tiny_bundle(tmp_path / "bare", has_reference=False).root, str(make_video(3))
    assert _stream(bundle, "--source", video) == 1
    assert "--allow-unverified" in capsys.readouterr().err
    assert _stream(bundle, "--source", video, "--allow-unverified") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--part", "1/2:id"], "needs a trigger that gives ids"),
        (["--part", "1/2:id", "--trigger", "every:2"], "needs a trigger that gives ids"),
        (["--batch", "99999999"], "--batch"),
        (["--save-ng", "ng", "--keep-ng-gb", "1e300"], "No disk has"),
        (["--loop", "--pace", "source", "--fps", "1e-300"], "fps must be"),
    ],
)
def test_an_option_that_no_stream_can_follow_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32, 3), np.uint8))
    assert _stream(bundle, "--source", str(tmp_path), *options) == 2
    assert message in capsys.readouterr().err
