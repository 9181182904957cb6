"""``edge-ad evaluate``."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.bundle import Bundle, write_bundle
from edge_ad.cli import main
from edge_ad.photo_spec import PhotoSpec


def test_a_bundle_that_sees_every_defect_scores_one(
    bundle: Bundle, product_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(bundle.root), "--data", str(product_root), "--backend", "onnxruntime", "--json"]) == 0
    out, err = capsys.readouterr()
    shown = json.loads(out)
    assert shown["metrics"]["image_auroc"] == 1.0
    assert shown["metrics"]["pixel_auroc"] > 0.99
    assert shown["decisions"]["detections"] == {"count": 4, "total": 4, "rate": 1.0}
    assert shown["decisions"]["false_alarms"]["count"] == 0
    assert shown["engine"] == "onnxruntime fp32"
    assert "8 test images of tiles" in err


def test_a_person_sees_metrics_and_decisions(
    bundle: Bundle, product_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(bundle.root), "--data", str(product_root), "--backend", "onnxruntime"]) == 0
    out = capsys.readouterr().out
    assert "8, 4 of them defective" in out
    assert "detections    4 of 4 (100.0%)" in out


def test_a_report_is_written_where_it_is_asked_for(bundle: Bundle, product_root: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    arguments = ["evaluate", str(bundle.root), "--data", str(product_root), "--backend", "onnxruntime"]
    assert main([*arguments, "--report", str(report)]) == 0
    (written,) = report.glob("*.json")
    assert json.loads(written.read_text())["metrics"]["image_auroc"] == 1.0
    assert list(report.glob("**/*.png"))


@pytest.mark.parametrize("name", ["nothing-here", "empty"])
def test_what_is_neither_a_bundle_nor_a_run_is_a_usage_error(
    name: str, product_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["evaluate", str(tmp_path / name), "--data", str(product_root)]) == 2
    assert name in capsys.readouterr().err.splitlines()[-2]


def test_a_run_is_not_evaluated_on_a_backend(
    product_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert main(["evaluate", str(tmp_path), "--data", str(product_root), "--backend", "openvino"]) == 2
    assert "edge-ad export" in capsys.readouterr().err


def test_an_unreadable_test_photo_is_left_out_when_that_is_asked_for(
    bundle: Bundle, product_root: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (product_root / "test/good/002.png").write_bytes(b"")
    arguments = ["evaluate", str(bundle.root), "--data", str(product_root), "--backend", "onnxruntime"]
    assert main(arguments) == 2
    assert "--skip-unreadable" in capsys.readouterr().err
    assert main([*arguments, "--skip-unreadable"]) == 0
    assert "7, 4 of them defective" in capsys.readouterr().out
    assert "1 image files" in caplog.text


def test_a_test_photo_of_another_shape_is_named_and_can_be_left_out(
    bundle: Bundle,
    product_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cv2.imwrite(str(product_root / "test/good/002.png"), np.full((40, 400, 3), 90, np.uint8))
    photos = PhotoSpec(significant_bits=8, aspect_ratios=(0.7, 0.8), size_hw=(64, 48))
    files = {name: (bundle.root / name).read_bytes() for name in ("model.onnx", "reference.npz")}
    upright = write_bundle(tmp_path / "upright", bundle.manifest.model_copy(update={"photos": photos}), files)
    target, engine = str(upright.root), ["--backend", "onnxruntime"]
    for command in (["evaluate", target], ["compare", str(bundle.root), target, "--seconds", "0.1"]):
        arguments = [*command, "--data", str(product_root), *engine]
        assert main(arguments) == 2
        told = capsys.readouterr().err
        assert "002.png" in told
        assert "--skip-unreadable" in told
        assert main([*arguments, "--skip-unreadable"]) == 0
        assert "1 image files" in caplog.text
        caplog.clear()


def test_named_folders_are_evaluated_as_the_product_is(
    bundle: Bundle, product_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ["--backend", "onnxruntime", "--json"]
    assert main(["evaluate", str(bundle.root), "--data", str(product_root), *engine]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    shutil.move(product_root / "test", tmp_path / "elsewhere")
    good, defect = tmp_path / "elsewhere/good", tmp_path / "elsewhere/square"
    masks = ["--masks", str(product_root / "ground_truth")]
    assert main(["evaluate", str(bundle.root), "--good", str(good), "--defect", str(defect), *masks, *engine]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == metrics
    assert main(["evaluate", str(bundle.root), *engine]) == 2
    assert "The test photos are missing" in capsys.readouterr().err
