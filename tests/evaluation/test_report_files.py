"""The files of a report come together or not at all, and touch nothing else in their folder."""

import errno
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.data.samples import Sample
from edge_ad.errors import StorageError
from edge_ad.evaluation import report
from edge_ad.evaluation.report import ReportPaths, write_report
from edge_ad.evaluation.results import Evaluation

FILES = {"evaluation.json", "index.html", "sheet.png"}


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    path = tmp_path / "0.png"
    cv2.imwrite(str(path), np.full((16, 16, 3), 90, np.uint8))
    return Evaluation(
        product="plate",
        root=tmp_path,
        size_hw=(16, 16),
        samples=(Sample(path, False, "good", None),),
        scores=np.array([1.0]),
        maps=np.ones((1, 16, 16), np.float32),
        metrics={},
        defect_auroc={},
        brightness_auroc=None,
        without_mask=0,
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def written(paths: ReportPaths) -> list[Path]:
    assert paths.page is not None
    return [paths.record, paths.sheet, paths.page]


def disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_paths_returned_are_the_files_written(evaluation, tmp_path):
    paths = write_report(tmp_path / "report", evaluation)
    assert json.loads(paths.record.read_text(encoding="utf-8"))["product"] == "plate"
    assert cv2.imread(str(paths.sheet)) is not None
    assert paths.page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert names(tmp_path / "report") == FILES


def test_other_files_in_the_folder_stay(evaluation, tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "index.html").write_text("old")
    paths = write_report(folder, evaluation)
    assert names(folder) == FILES | {"notes.txt"}
    assert paths.page.read_text(encoding="utf-8") != "old"


def test_a_disk_that_fills_up_at_the_last_file_leaves_the_old_report(evaluation, tmp_path, monkeypatch):
    folder = tmp_path / "report"
    old = {path.name: path.read_bytes() for path in written(write_report(folder, evaluation))}
    evaluation.scores[0] = 2.0
    write = report.write_file
    monkeypatch.setattr(
        report, "write_file", lambda path, content: (disk_full if path.name == "index.html" else write)(path, content)
    )
    with pytest.raises(StorageError, match="disk is full"):
        write_report(folder, evaluation)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == old


def test_a_disk_that_is_full_leaves_no_new_folder(evaluation, tmp_path, monkeypatch):
    before = names(tmp_path)
    write = Path.write_bytes
    monkeypatch.setattr(
        Path, "write_bytes", lambda path, content: (disk_full if path.name == "index.html" else write)(path, content)
    )
    with pytest.raises(StorageError, match="disk is full"):
        write_report(tmp_path / "report", evaluation)
    assert names(tmp_path) == before
