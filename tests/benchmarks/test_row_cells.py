"""Tables whose rows are cells of a sweep: recorded rows are known, and methods that share a training have one."""

import subprocess
from pathlib import Path
from shutil import copy
from types import ModuleType
from typing import Any

import pytest

from benchmarks import distillation_table, flow_table
from benchmarks.suites import peer_accuracy
from benchmarks.suites.record import read_lines
from edge_ad.data.sample_product import render_product

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (flow_table, ["--runs", "RUNS", "--methods", "patch-gaussian", "msflow"]),
        (distillation_table, ["--methods", "gnl:steps=150", "reverse-distillation:steps=300"]),
        (peer_accuracy, ["--anomalib-python", "PYTHON", "--peers", "PaDiM-Lite0", "PatchCore-Lite0"]),
    ],
    ids=["flow", "distillation", "peers"],
)
def test_recorded_rows_are_not_measured_again(table: ModuleType, words: list[str], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    copy(RESULTS / f"{table.__name__.rpartition('.')[2]}.jsonl", out)
    before = out.read_bytes()
    product, seed = read_lines(out)[0]["product"], read_lines(out)[0]["seed"]
    asked = ["--data", str(tmp_path / product), "--seeds", str(seed), "--workers", "0", "--out", str(out), *words]
    assert table.main(asked) == 0
    assert out.read_bytes() == before


def test_methods_that_differ_in_matching_share_a_training(tmp_path: Path) -> None:
    render_product(tmp_path / "bolt", good=12, test_good=2, defects_per_kind=1, size_hw=(64, 64))
    plain, other = "reverse-distillation:steps=2", "patch-gaussian"
    matched = f"{plain},matching=moments"
    out = tmp_path / "rows.jsonl"
    words = ["--data", str(tmp_path / "bolt"), "--size", "64", "--workers", "0", "--out", str(out)]
    assert distillation_table.main([*words, "--methods", plain, other, matched]) == 0
    rows = {row["method"]: row for row in read_lines(out)}
    assert list(rows) == [plain, matched, other]  # as cells have them
    assert rows[plain]["seconds"] == rows[matched]["seconds"]
    assert rows[plain]["shifts"] != rows[matched]["shifts"]
    assert len(rows[plain]["shifts"]) == 1 + len(distillation_table.SHIFTS)


def test_a_build_that_the_gate_refuses_is_a_row_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edge_ad(words: list[Any]) -> str:
        if words[0] == "build-engine":
            raise subprocess.CalledProcessError(4, words, stderr="error: INT8 differs too much.\nhint: none\n")
        return ""

    monkeypatch.setattr(flow_table, "edge_ad", edge_ad)
    monkeypatch.setattr(flow_table, "metrics_of", lambda run, data, precision: {"image_auroc": 0.5})
    out = tmp_path / "rows.jsonl"
    words = ["--data", str(tmp_path / "bolt"), "--runs", str(tmp_path / "runs"), "--out", str(out), "--workers", "0"]
    assert flow_table.main([*words, "--methods", "msflow"]) == 0
    (row,) = read_lines(out)
    assert row["refused"] == "error: INT8 differs too much."
    assert row["fp32"] == {"image_auroc": 0.5}
