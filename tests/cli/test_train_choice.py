"""``edge-ad train``: which method it takes, what it says where a name is wrong, and the time that it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.cli import main
from edge_ad.cli.progress import EpochProgress
from edge_ad.method_names import DEFAULT_METHOD, METHODS, SPEEDS
from edge_ad.models.base import AnomalyDetector
from edge_ad.models.patch_gaussian import PatchGaussianParameters
from edge_ad.models.registry import method_class
from edge_ad.training.checkpoints import Progress
from edge_ad.training.loop import EpochReport
from edge_ad.training.runs import read_record


def test_help_lists_every_method_and_imports_no_torch() -> None:
    code = "import sys; from edge_ad.cli import main; main(['train', '--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    words = done.stdout.replace("-\n                ", "-").split()
    assert {*METHODS.names()} <= {word.strip(",;") for word in words}
    assert "[required," in done.stdout


def test_methods_are_listed_with_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--methods", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [*rows] == [*METHODS.names()]
    assert [name for name, row in rows.items() if row["is_default"]] == [DEFAULT_METHOD]
    assert all(row["purpose"] for row in rows.values())
    drawing = {name for name in rows if method_class(name).reconstruct is not AnomalyDetector.reconstruct}
    assert {name for name, row in rows.items() if row["draws_normal"]} == drawing
    assert "patchcore" in rows["patch-nearest"]["aliases"]


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        (["patch_metrc"], "Did you mean patch-metric?"),
        (["PaDIM"], "Did you mean padim?"),
        (["patch-gaussian", "-p", "bakbone=x"], "Did you mean backbone?"),
        (["-p", "shrinkag=1"], "Did you mean shrinkage?"),
    ],
)
def test_a_name_that_is_nearly_right_is_asked_back(
    arguments: list[str], question: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--data", str(tmp_path), "--runs", str(tmp_path / "runs")]) == 2
    assert question in capsys.readouterr().err


def test_without_a_method_the_default_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(tmp_path), "--runs", str(tmp_path / "runs")]) == 2  # there is no photo
    assert f"Method: {DEFAULT_METHOD}" in capsys.readouterr().err


def test_a_folder_in_place_of_the_method_becomes_the_command_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my parts").mkdir()
    assert main(["train", str(tmp_path / "my parts")]) == 2
    assert f"edge-ad train --data '{tmp_path / 'my parts'}'" in capsys.readouterr().err


def test_the_first_epoch_says_how_long_the_rest_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with EpochProgress() as listen:
        for epoch in (1, 2, 50):
            listen(_report(epoch, seconds=10.0))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" · ")[-1] for line in lines] == ["8 min left", "0 s left"]


def _report(epoch: int, *, seconds: float) -> EpochReport:
    return EpochReport(
        progress=Progress(0, epoch),
        stage="metric",
        epochs=50,
        losses={"loss": 1.0},
        learning_rate=0.1,
        seconds=seconds,
        tensors={},
    )


def test_a_speed_chooses_the_backbone_and_what_is_given_goes_before_it(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        assert cv2.imwrite(str(photos / f"{number}.png"), noise)
    few = ["--size", "64", "-p", "weights=random", "-p", "rank=2", "--no-check-photos"]
    arguments = ["train", "patch-gaussian", "--data", str(photos), "--runs", str(tmp_path), "--name", "run"]
    assert main([*arguments, "--speed", "best", *few]) == 0
    record = read_record(tmp_path / "run")
    best = PatchGaussianParameters.speeds["best"]
    assert record.training["speed"] == "best"
    assert record.parameters["backbone"] == best["backbone"] != PatchGaussianParameters().backbone
    assert record.parameters["size"] == 64 != best["size"]


def test_every_speed_is_one_of_a_detector_on_patch_features() -> None:
    for values in PatchGaussianParameters.speeds.values():
        PatchGaussianParameters.model_validate(values)
    assert [*PatchGaussianParameters.speeds] == [*SPEEDS]
    assert PatchGaussianParameters.model_validate(PatchGaussianParameters.speeds["fast"]) == PatchGaussianParameters()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["patch-gaussian", "--speed", "fastest"], "It has: fast, balanced, best."),
        (["fader", "--speed", "best"], "Leave --speed out"),
    ],
)
def test_a_speed_that_is_not_there_is_refused_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--data", str(tmp_path), "--runs", str(tmp_path / "runs")]) == 2
    assert said in capsys.readouterr().err
