"""``edge-ad benchmark``."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.evaluation.evaluate import LoadedPredictor
from edge_ad.evaluation.latency import read_frames
from edge_ad.prediction import Prediction
from edge_ad.training import predictor


def test_a_program_gets_latency_rate_engine_and_machine(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", str(bundle.root), "--backend", "onnxruntime", "--seconds", "0.1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    for name in ("engine", "end_to_end"):
        latency = shown["measurements"][name]
        assert latency["runs"] >= 10
        assert 0 < latency["min_ms"] <= latency["p50_ms"] <= latency["p99_ms"] <= latency["max_ms"]
    assert shown["measurements"]["pipelined_fps"] > 0
    assert shown["measurements"]["comparison"] is None
    assert shown["engine"]["backend"] == "onnxruntime"
    assert shown["machine"]["cores"] >= 1
    assert shown["machine"]["versions"]["onnxruntime"] == shown["engine"]["version"]
    assert shown["frames"] == {"source": "reference photos of the bundle", "count": 3, "sizes_hw": [[32, 32]]}


def test_a_person_sees_a_table(bundle: Bundle, product_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["benchmark", str(bundle.root), "--backend", "onnxruntime", "--seconds", "0.1"]
    assert main([*arguments, "--data", str(product_root)]) == 0
    out = capsys.readouterr().out
    assert "8 photos of tiles (64 x 48)" in out
    assert "end to end" in out
    assert "frames per second" in out


def test_photos_of_a_product_are_measured_at_their_own_size(bundle: Bundle, product_root: Path) -> None:
    frames = read_frames(bundle, product_root)
    assert len(frames.images) == 8
    assert frames.sizes_hw == [(64, 48)]


def plant_baseline(monkeypatch: pytest.MonkeyPatch, method: str) -> list[tuple[Path, int]]:
    asked: list[tuple[Path, int]] = []

    def baseline(path: Path, threads: int) -> LoadedPredictor:
        asked.append((path, threads))
        prediction = Prediction(0.1, np.zeros((32, 32), np.float32))
        return LoadedPredictor(lambda images: [prediction] * len(images), (32, 32), None, "torch fp32", method)

    monkeypatch.setattr(predictor, "open_run", baseline)
    return asked


def test_a_baseline_is_measured_in_the_same_rounds_with_the_same_threads(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = plant_baseline(monkeypatch, method="blue")
    arguments = ["benchmark", str(bundle.root), "--backend", "onnxruntime", "--seconds", "0.1", "--json"]
    assert main([*arguments, "--against", "torch"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert asked == [(bundle.root.parent, shown["engine"]["threads"])]
    assert shown["engine"]["threads"] >= 1
    comparison = shown["measurements"]["comparison"]
    assert comparison["ours"] == shown["measurements"]["end_to_end"]
    assert comparison["ratio_of_medians"] == comparison["theirs"]["p50_ms"] / comparison["ours"]["p50_ms"]


def test_another_method_is_no_baseline(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_baseline(monkeypatch, method="red")
    assert main(["benchmark", str(bundle.root), "--against", "torch", "--run", "elsewhere"]) == 2
    assert "of method red, the bundle of blue" in capsys.readouterr().err


def test_against_torch_needs_a_run(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", str(bundle.root), "--against", "torch"]) == 2
    assert "Name it: --run runs/NAME" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["inspect", "benchmark", "evaluate"])
def test_a_device_without_the_training_packages_runs_a_bundle(
    verb: str, bundle: Bundle, product_root: Path, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "away = 'torch onnx onnxscript safetensors sklearn transformers matplotlib jinja2'\n"
        "for name in away.split():\n"
        "    sys.modules[name] = None\n"
        "from edge_ad.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    extra = {
        "inspect": [],
        "benchmark": ["--seconds", "0.1"],
        "evaluate": ["--data", str(product_root), "--report", str(tmp_path / "report")],
    }[verb]
    command = [sys.executable, "-c", script, verb, str(bundle.root), *extra]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if verb == "evaluate":
        assert "image_auroc" in done.stdout
        assert "no page: matplotlib" in done.stderr.splitlines()[-1]
        assert (tmp_path / "report" / "sheet.png").is_file()
