"""Ours beside anomalib's models: tables and picture, and the recorded rows they come from."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.peer_comparison import (
    PICTURE,
    accuracies,
    lines_table,
    peers_accuracy_table,
    picture,
    points,
    speed_table,
)
from benchmarks.report.results import read_results
from benchmarks.suites.record import append_row

PRODUCTS = ("metal_plate", "ball_screw", "magnetic_tile", "screw")


def training(product: str, method: str, image: float, pixel: float, pro: float, **more: Any) -> dict[str, Any]:
    figures = {"image_auroc": image, "pixel_auroc": pixel, "pro": pro}
    return {"kind": "accuracy", "product": product, "size": 256, "seed": 0, "method": method, **figures, **more}


def side(name: str, cpu_ms: float) -> dict[str, Any]:
    times = {"p50_ms": cpu_ms * 9, "ratio": 2.0, "ratio_per_round": [2.0], "cpu_ms": cpu_ms, "cpu_ratio": cpu_ms / 5}
    return {"name": name, "runs": 3, **times, "model_mib": 3.5}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for product in PRODUCTS:
        append_row(tmp_path / "peer_accuracy.jsonl", training(product, "anomalib PaDiM-Lite0", 0.9, 0.98, 0.9))
        ours = training(product, "patch-gaussian", 0.95, 0.98, 0.8, cpu_seconds=4.0)
        append_row(tmp_path / "default_method.jsonl", ours)
        append_row(tmp_path / "discriminator_table.jsonl", training(product, "patch-gaussian", 0.1, 0.1, 0.1))
    append_row(tmp_path / "default_method.jsonl", training("screw", "patch-nearest", 0.9, 0.9, 0.9))
    sides = [side("edge-ad", 5), side("edge-ad patch-nearest", 7), side("anomalib PaDiM-Lite0", 40)]
    row = {"kind": "peers", "recorded": "2026-01-01", "machine": {}, "bundle": "b", "product": "metal_plate"}
    row |= {"scope": "patch-gaussian int8 end to end", "reference": "edge-ad"}
    append_row(tmp_path / "peer_times.jsonl", {**row, "sides": [*sides, side("anomalib STFPM", 75)]})
    return tmp_path


def test_a_method_is_drawn_with_its_mean_only_where_all_products_are_known(results: Path) -> None:
    (row,) = read_results([results / "peer_times.jsonl"]).peers
    panels, alone = points(row, accuracies(results))
    image, pro = panels.values()
    assert [(point.name, point.latency_ms, point.accuracy) for point in image] == [
        ("patch-gaussian", 5, pytest.approx(0.95)),  # the file that comes first counts
        ("PaDiM-Lite0", 40, pytest.approx(0.9)),
    ]
    assert [point.accuracy for point in pro] == [pytest.approx(0.8), pytest.approx(0.9)]
    assert alone == {"STFPM": 75}
    assert "PaDiM-Lite0" in picture(results)


def test_a_line_that_is_missed_is_said(results: Path) -> None:
    first, second = lines_table(results / "peer_times.jsonl").splitlines()[2:4]
    assert "+0.050 / +0.000 / -0.100; **behind by PRO**" in first
    assert "8.0 ×, **missed**" in first
    assert second.endswith("| – | – |")  # not run with the same pixels, not timed
    speed = speed_table(results / "peer_times.jsonl")
    assert "| anomalib STFPM | 15.0 × | – | – |" in speed


def test_accuracy_and_cost_stand_beside_each_other(results: Path) -> None:
    lines = peers_accuracy_table(results / "peer_times.jsonl").splitlines()
    assert "| `metal_plate` | `patch-gaussian` | 1 | 0.950 | 0.980 | 0.800 | 1 | 4 | 3.5 |" in lines
    assert "| `screw` | PaDiM-Lite0 | 1 | 0.900 | 0.980 | 0.900 | – | – | – |" in lines


def test_the_recorded_picture_shows_the_recorded_rows() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "run python -m benchmarks.peer_comparison"
