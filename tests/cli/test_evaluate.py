"""``edge-ad evaluate``."""

import json
from pathlib import Path

import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli import main


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
