"""The table of detectors under shift: rows are measured once, and shown as means over seeds."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import shift_table as table

ARGUMENTS = ["--size", "64", "--methods", "patch-gaussian:levels=8,16,rank=3", "--backend", "onnxruntime"]


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """MVTec layout: 14 good squares, and a test set with a stain on half of them."""
    rng = np.random.default_rng(0)
    for folder, count in (("train/good", 14), ("test/good", 3), ("test/stain", 3)):
        (tmp_path / "squares" / folder).mkdir(parents=True)
        for index in range(count):
            image = np.full((64, 64, 3), 90, np.uint8)
            image[16:48, 16 + index % 3 : 48 + index % 3] = 180
            image = cv2.add(image, rng.integers(0, 20, image.shape, dtype=np.uint8))
            if folder == "test/stain":
                image[24:36, 24:36] = (0, 0, 255)
            cv2.imwrite(str(tmp_path / "squares" / folder / f"{index:02d}.png"), image)
    return tmp_path / "squares"


def test_a_run_is_trained_exported_and_measured_once_at_each_step(
    product: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shift.jsonl"
    given = ["--data", str(product), "--out", str(out), "--runs", str(tmp_path / "runs"), *ARGUMENTS]
    assert table.main([*given, "--shift", "gain:3"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["kind"], row["step"]) for row in rows] == [("unshifted", 0.0), ("gain", 3.0)]
    assert rows[0]["image_auroc"] == 1.0
    assert rows[1]["false_alarms"] == 1.0  # 90 and 180 times 3 are flat white
    assert rows[0]["good"] == 3
    assert table.main([*given, "--shift", "gain:3"]) == 0
    assert len(out.read_text().splitlines()) == 2
    assert table.main([*given, "--shift", "gain:1.01,3"]) == 0
    assert [json.loads(line)["step"] for line in out.read_text().splitlines()[2:]] == [0.0, 1.01]
    capsys.readouterr()
    assert table.main(["--show", str(out)]) == 0
    header, _, unshifted, gain, _ = capsys.readouterr().out.strip().splitlines()
    assert header == "| squares | `patch-gaussian:levels=8,16,rank=3`, 64 px, 1 seed |"
    assert unshifted.startswith("| unshifted | 1.000 ")
    assert gain.endswith("1.00/1.00 ✗ |")


def row(seed: int, kind: str, step: float, auroc: float, alarms: float, recall: float) -> dict[str, object]:
    about = {"product": "plate", "size": 256, "seed": seed, "method": "ear", "precision": "fp32", "shift_at": "file"}
    figures = {"image_auroc": auroc, "false_alarms": alarms, "recall": recall, "asked": 0.01}
    return {**about, "kind": kind, "step": step, **figures}


def test_means_over_seeds_are_held_against_what_is_asked() -> None:
    rows = [
        row(0, "unshifted", 0.0, 1.0, 0.0, 1.0),
        row(1, "unshifted", 0.0, 0.9, 0.1, 0.8),
        row(0, "gain", 1.25, 0.9, 0.2, 1.0),
        row(1, "gain", 1.25, 0.8, 0.02, 0.8),  # 0.11 on average: as many as asked and 0.10 more
        row(0, "noise", 8.0, 0.9, 0.2, 1.0),
        row(1, "noise", 8.0, 0.9, 0.04, 1.0),
        row(0, "blur", 1.5, 0.9, 0.0, 0.7),
        row(1, "blur", 1.5, 0.9, 0.0, 0.8),
    ]
    assert table.table(rows).splitlines() == [
        "| plate | `ear`, 2 seeds |",
        "|---|---|",
        "| unshifted | 0.950 0.05/0.90 |",
        "| gain 1.25 | 0.850 0.11/0.90 |",
        "| noise 8 | 0.900 0.12/1.00 ✗ |",
        "| blur 1.5 | 0.900 0.00/0.75 ✗ |",
    ]


def test_methods_of_a_product_stand_side_by_side() -> None:
    first = row(0, "unshifted", 0.0, 1.0, 0.0, 1.0)
    other = {**first, "method": "fader", "precision": "int8", "shift_at": "network"}
    elsewhere = {**first, "product": "screw"}
    assert table.table([first, other, elsewhere]).splitlines() == [
        "| plate | `ear`, 1 seed | `fader`, int8, shifted at the network, 1 seed |",
        "|---|---|---|",
        "| unshifted | 1.000 0.00/1.00 | 1.000 0.00/1.00 |",
        "",
        "| screw | `ear`, 1 seed |",
        "|---|---|",
        "| unshifted | 1.000 0.00/1.00 |",
    ]
