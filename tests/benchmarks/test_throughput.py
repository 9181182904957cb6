import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import throughput
from benchmarks.torch_workers import torch_workers
from edge_ad.cli import main
from edge_ad.errors import UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product ``dots`` and a run of it, ``runs/dots/patch-gaussian-0``, with its FP32 engine."""
    root = tmp_path_factory.mktemp("throughput")
    (root / "dots").mkdir()
    rng = np.random.default_rng(0)
    for index in range(14):
        image = np.clip(rng.normal(120, 20, (80, 96, 3)), 0, 255).astype(np.uint8)
        assert cv2.imwrite(str(root / "dots" / f"{index:02d}.png"), image)
    runs = root / "runs" / "dots"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AD_CACHE", str(root / "cache"))
        options = ["--runs", str(runs), "--name", "patch-gaussian-0", "--size", "64", "--parameter", "rank=4"]
        assert main(["train", "patch-gaussian", "--data", str(root / "dots"), *options]) == 0
    assert main(["build-engine", str(runs / "patch-gaussian-0"), "--precision", "fp32"]) == 0
    return root


def rows(folder: Path) -> list[dict[str, object]]:
    out = folder / "rows.jsonl"
    options = ["--rounds", "2", "--seconds", "0.2", "--methods", "patch-gaussian", "--precisions", "fp32"]
    throughput.main(["--data", str(folder / "dots"), "--runs", str(folder / "runs"), "--out", str(out), *options])
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_the_engine_is_held_against_the_faster_way_of_torch(folder: Path) -> None:
    (row,) = rows(folder)
    assert row["precision"] == "fp32"
    assert isinstance(row["torch"], dict)
    assert isinstance(row["fps"], float)
    assert row["ratio"] == pytest.approx(row["fps"] / max(row["torch"].values()), rel=0.02)
    assert isinstance(row["ratio_per_round"], list)
    assert len(row["ratio_per_round"]) == 2
    assert len(rows(folder)) == 1  # what is recorded is not measured again


def test_workers_work_when_they_are_asked_and_end_with_the_context(folder: Path) -> None:
    frames = [np.full((80, 96, 3), 100, np.uint8)]
    with torch_workers(folder / "runs" / "dots" / "patch-gaussian-0", frames, processes=2, threads=1) as workers:
        assert workers.frames_per_second(1.0) > 0
        assert workers.frames_per_second(0.5) > 0


def test_a_worker_that_cannot_open_its_run_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"is not a run \(no run.json in it\)"),
        torch_workers(tmp_path, [], processes=1, threads=1),
    ):
        pass


def test_a_run_that_is_not_there_is_one_line_and_writes_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    options = ["--data", str(folder / "dots"), "--runs", str(tmp_path), "--out", str(out), "--methods", "pbas"]
    assert throughput.main(options) == 2
    assert capsys.readouterr().err.splitlines()[0].startswith("error: ")
    assert not out.exists()
