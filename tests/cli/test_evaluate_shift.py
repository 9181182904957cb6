"""``edge-ad evaluate --shift``."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli import main, shift
from edge_ad.data.products import open_product
from edge_ad.errors import UsageError
from edge_ad.evaluation.evaluate import LoadedPredictor
from edge_ad.prediction import Prediction


@pytest.fixture
def arguments(bundle: Bundle, product_root: Path) -> list[str]:
    return ["evaluate", str(bundle.root), "--data", str(product_root), "--backend", "onnxruntime"]


def test_shifted_photos_are_measured_at_the_bundles_threshold(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Good parts reach 60 of 255 and the threshold is half of that range: times 1.6 they pass, plus 100 they do not."""
    assert main([*arguments, "--shift", "gain:1.6", "--shift", "offset:5,100", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["unshifted"]["false_alarms"]["count"] == 0
    gain, offset = shown["shifts"]
    assert gain["steps"][0]["false_alarms"]["count"] == 0
    assert [step["false_alarms"]["count"] for step in offset["steps"]] == [0, 4]
    assert offset["tolerances"] == [{"direction": "up", "step": 5.0, "first_failing": 100.0}]
    assert shown["shift_at"] == "file"
    assert shown["photo_sizes_hw"] == [[64, 48]]


def test_a_person_sees_steps_tolerances_and_where_photos_were_shifted(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--shift", "imagenet-c:1", "--shift", "offset:5,100", "--shift-at", "network"]) == 0
    out, err = capsys.readouterr()
    assert "after resizing to the network's input (32×32 pixels)" in out
    assert "imagenet-c/defocus-blur" in out
    assert "1.00 (4/4)" in out
    assert "Tolerated: false alarms to 6%" in out
    assert "at 6 steps of 5 kinds of shift" in err


def test_a_requirement_that_is_not_met_is_exit_code_4_after_everything_was_shown(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shifts = ["--shift", "offset:5,100", "--json", "--report", str(tmp_path / "report")]
    assert main([*arguments, *shifts, "--require", "offset>=5", "--require", "recall>=1"]) == 0
    capsys.readouterr()
    assert main([*arguments, *shifts, "--require", "offset>=5", "--require", "false-alarms<=0.1"]) == 4
    out, err = capsys.readouterr()
    assert [each["met"] for each in json.loads(out)["requirements"]] == [True, False]
    assert "1 of 2 requirements are not met: false-alarms<=0.1" in err
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"shift.html", "shift.json"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shift", "snow"], "Unknown shift: snow"),
        (["--shift", "gain:-1"], "gain takes steps"),
        (["--require", "recall>=0.9"], "--require goes with --shift"),
        (["--shift", "gain", "--require", "gain"], "not understood"),
        (["--shift", "gain", "--require", "blur>=1"], "blur is not measured"),
        (["--shift", "gain", "--shift-at", "camera"], "camera"),
    ],
)
def test_what_is_not_understood_is_a_usage_error_before_anything_is_opened(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tmp_path / "nothing"), "--data", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_run_has_scores_alone_and_says_so(product_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def predict(images: np.ndarray) -> list[Prediction]:
        maps = images[..., 0].astype(np.float32)
        return [Prediction(float(one.max()), one) for one in maps]

    run = LoadedPredictor(predict, (32, 32), None, "torch fp32", "blue")
    kinds, requirements = shift.plan(["offset:5"], ["image-auroc>=0.9"])
    shift.check_threshold(requirements, run)
    report = shift.measure(run, open_product(product_root, part="test"), kinds, "file", ())
    shift.show(report, requirements, None, as_json=False)
    out, err = capsys.readouterr()
    assert "A run has no threshold" in err
    assert "median good score" in out
    assert "false alarms" not in out
    assert "Tolerated" not in out
    assert "met: image-auroc>=0.9 (1 at worst: unshifted)" in out
    with pytest.raises(UsageError, match="needs a threshold"):
        shift.check_threshold(shift.plan(["offset:5"], ["offset>=5"])[1], run)


def test_a_log_gets_a_line_for_each_kind(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--shift", "gain:0.8,1.25", "--shift", "noise:4"]) == 0
    err = capsys.readouterr().err
    assert err.count("gain: ") == 1
    assert "noise: 32 of 32 images are done." in err
