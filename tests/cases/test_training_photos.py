"""Who was trained on what: test photos that were, and defects among the good photos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.cli import main
from edge_ad.data.products import open_product
from edge_ad.data.splits import GoodSplit
from edge_ad.errors import StorageError
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.training import photo_check
from edge_ad.training.photo_check import CHECK_FILE, SHEET_FILE, check_photos, oddness, photos_needed
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import load_run, read_record, torch_predictor
from edge_ad.training.train import train


def _train(product: Path, root: Path) -> Path:
    return train(TrainingRequest("patch-gaussian", product, root, {"size": 64}), lambda report: None)


def _rendered(root: Path, good: int, *, copies: int = 0, defects: int = 0) -> Path:
    """A grey part with some texture; a defect is a bright square."""
    rng, folder = np.random.default_rng(0), root / "train" / "good"
    folder.mkdir(parents=True)
    for number in range(good + defects):
        image = rng.normal(100, 6, (64, 64, 3)).clip(0, 255).astype(np.uint8)
        if number >= good:
            image[20:40, 20:40] = rng.integers(0, 256, 3)
        cv2.imwrite(str(folder / f"{number:02d}.png"), image)
    for number in range(copies):
        shutil.copy(folder / f"{number:02d}.png", folder / f"copy{number}.png")
    return root


def test_defects_among_the_good_photos_are_named_first(tmp_path: Path) -> None:
    run = load_run(_train(_rendered(tmp_path / "part", 20, defects=3), tmp_path / "run"))
    check = check_photos(run)
    assert {path.name for path, _ in check.oddest[:3]} == {"20.png", "21.png", "22.png"}
    assert check.standing_out >= 1
    sheet = cv2.imread(str(run.root / SHEET_FILE))
    assert sheet is not None
    assert sheet.min() < 50 < 200 < sheet.max()
    assert json.loads((run.root / CHECK_FILE).read_text())["oddest"][0]["photo"].startswith("train/good/2")


def test_nothing_stands_out_among_photos_that_are_alike(tmp_path: Path) -> None:
    check = check_photos(load_run(_train(_rendered(tmp_path / "part", 20, copies=2), tmp_path / "run")))
    assert (check.photos, check.standing_out, check.copies, check.left_out) == (20, 0, 2, 0)
    assert check.held_out_median <= check.held_out_highest


def test_defects_that_were_handed_among_the_good_photos_are_named(case_products: Path, tmp_path: Path) -> None:
    check = check_photos(load_run(_train(case_products / "defects_among_good", tmp_path / "run")))
    # One good photo with a glare is as strange as they are.
    assert sum(path.name.startswith("also_") for path, _ in check.oddest[:5]) == 4


def test_oddness_is_counted_from_the_median() -> None:
    np.testing.assert_allclose(oddness(np.array([1.0, 2.0, 3.0, 4.0, 100.0])), np.array([-2, -1, 0, 1, 97]) / 1.4826)
    np.testing.assert_array_equal(oddness(np.ones(5)), np.zeros(5))
    assert oddness(np.array([1.0] * 9 + [3.0]))[9] > 6  # most are alike, and one is not


def test_photos_needed_are_those_whose_held_out_part_holds_the_rate() -> None:
    split = GoodSplit(0, tuple(map(Path, "abcdefg")), (Path("h"), Path("i")), (Path("j"),))
    assert photos_needed(split, 0.01) == 990  # a tenth of them are the 99 that one in a hundred needs


def test_train_tells_what_is_odd_and_can_leave_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    product = _rendered(tmp_path / "part", 20, defects=2, copies=1)
    arguments = ["train", "patch-gaussian", "--data", str(product), "--size", "64", "--runs", str(tmp_path)]
    assert main([*arguments, "--name", "a"]) == 0
    told = capsys.readouterr().out
    for words in (
        "held-out scores: median",
        "oddest good photos: train/good/2",
        "stand out",
        "1 of the photos are copies",
    ):
        assert words in told
    assert main([*arguments, "--name", "b", "--no-check-photos"]) == 0
    assert "oddest" not in capsys.readouterr().out
    assert not (tmp_path / "b" / SHEET_FILE).exists()
    assert main([*arguments, "--name", "c", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["photo_check"]["copies"] == 1


@pytest.mark.parametrize(("problem", "code"), [(StorageError("The disk is full."), 0), (KeyboardInterrupt(), 130)])
def test_a_check_that_fails_leaves_a_finished_run_that_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    problem: BaseException,
    code: int,
) -> None:
    def fails(*_: object) -> None:
        raise problem

    monkeypatch.setattr(photo_check, "check_photos", fails)
    product = _rendered(tmp_path / "part", 12)
    arguments = ["train", "patch-gaussian", "--data", str(product), "--size", "64", "--runs", str(tmp_path)]
    assert main([*arguments, "--name", "a"]) == code
    told = capsys.readouterr()
    assert str(tmp_path / "a") in told.out
    assert "complete" in told.err
    assert load_run(tmp_path / "a").method == "patch-gaussian"


def test_test_photos_that_were_trained_on_are_told(case_products: Path, tmp_path: Path) -> None:
    product = case_products / "test_holds_training_photos"
    root = _train(product, tmp_path / "run")
    split = read_record(root).split
    seen = {*split.fit.values(), *split.calibrate.values(), *split.threshold.values()}
    run = load_run(root)
    opened = open_product(product)
    found = evaluate(torch_predictor(run.detector), opened, (64, 64), photos=run.split.photos, trained_on=seen)
    assert found.seen_words.startswith("6 of 6 good test photos were trained on")
    assert len(found.to_json()["trained_on"]) == 6
    clean = evaluate(torch_predictor(run.detector), opened, (64, 64), photos=run.split.photos)
    assert (clean.seen_words, clean.to_json()["trained_on"]) == ("", [])


def test_evaluate_warns_of_photos_that_were_trained_on(
    case_products: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = case_products / "test_holds_training_photos"
    root = _train(product, tmp_path / "run")
    assert main(["evaluate", str(root), "--data", str(product), "--report", str(tmp_path / "report")]) == 0
    assert "6 of 6 good test photos were trained on" in capsys.readouterr().err
    assert "6 of 6 good test photos were trained on" in (tmp_path / "report" / "index.html").read_text()
