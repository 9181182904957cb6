"""Every good photo is scored by a detector that has not seen its block; the run records it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge_ad.cli import main
from edge_ad.errors import CheckpointError, UsageError
from edge_ad.evaluation.thresholds import fit_threshold
from edge_ad.images import read_resized
from edge_ad.models.patch_gaussian import PatchGaussian, PatchGaussianParameters
from edge_ad.models.registry import create_detector
from edge_ad.training.cross_fitting import is_cross_fitted
from edge_ad.training.feature_cache import compute_features, to_tensor
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import good_scores, load_run, read_record
from edge_ad.training.threshold_outlook import bound_with, threshold_outlook
from edge_ad.training.train import train


def _train(product: Path, root: Path, method: str = "patch-gaussian", **options: object) -> Path:
    values = {"size": 64, "steps": 2} if method == "ear" else {"size": 64, "rank": 4}
    return train(TrainingRequest(method, product, root, values, **options), lambda report: None)  # type: ignore[arg-type]


def test_each_score_is_by_a_detector_that_was_fitted_on_the_other_folds(product: Path, tmp_path: Path) -> None:
    run = load_run(_train(product, tmp_path / "run"))
    assert len(run.split.folds) == 3
    for index, fold in enumerate(run.split.folds):
        detector = PatchGaussian(PatchGaussianParameters(size=64, rank=4)).eval()
        others = [path for number, part in enumerate(run.split.folds) if number != index for path in part]
        features, own = (
            compute_features(detector.patch_features, read_resized(part, (64, 64))) for part in (others, fold)
        )
        detector.fit_features(features, own)
        with torch.inference_mode():
            expected = detector.score_features(own).score.tolist()
        assert [run.good_scores[path] for path in fold] == pytest.approx(expected, rel=1e-3)


def test_the_deployed_detector_is_fitted_on_all_photos_and_its_own_scores_tell_the_scale(
    product: Path, tmp_path: Path
) -> None:
    run = load_run(_train(product, tmp_path / "run"))
    photos = [path for fold in run.split.folds for path in fold]
    assert sorted(run.split.fit) == sorted(photos)
    own = [run.fitted_scores[path] for path in run.split.folds[0]]
    with torch.inference_mode():
        expected = run.detector(to_tensor(read_resized(run.split.folds[0], (64, 64)))).score.tolist()
    assert own == pytest.approx(expected, rel=1e-3)
    assert sum(own) < sum(run.good_scores[path] for path in run.split.folds[0])  # what was fitted on is no surprise
    rule = good_scores(run)
    # Of 12 photos at 1 %: the highest, by a detector that has not seen it; on the scale of an engine at half of torch.
    assert rule.threshold(own).value == pytest.approx(max(run.good_scores.values()))
    assert rule.threshold([score / 2 for score in own]).value == pytest.approx(max(run.good_scores.values()) / 2)


def test_what_is_fitted_in_seconds_is_cross_fitted_and_what_is_trained_is_not() -> None:
    assert is_cross_fitted(create_detector("patch-gaussian", {"size": 64}))
    assert is_cross_fitted(create_detector("patch-nearest", {"size": 64}))
    assert not any(is_cross_fitted(create_detector(name, {"size": 64})) for name in ("ear", "patch-metric"))


def test_a_network_sets_its_threshold_on_a_held_out_block_and_says_so(product: Path, tmp_path: Path) -> None:
    run = load_run(_train(product, tmp_path / "run", "ear"))
    assert (run.split.folds, dict(run.good_scores)) == ((), {})
    own = np.array([1.0, 2.0])
    threshold = good_scores(run).threshold(own)
    assert threshold.value == fit_threshold(own).value
    assert "would have to be trained again" in threshold.rule


def test_photos_that_show_the_same_count_once_in_a_held_out_block(product: Path, tmp_path: Path) -> None:
    last = sorted(product.iterdir())[-1]
    for number in range(5):
        assert cv2.imwrite(str(product / f"{90 + number}.png"), cv2.imread(str(last)))
    run = load_run(_train(product, tmp_path / "run", "ear"))
    rule, held_out = good_scores(run), run.split.threshold
    alike = [path in run.split.duplicates[0] for path in held_out]
    assert sum(alike) == 6
    assert rule.threshold(np.arange(len(held_out))).good_images == len(held_out) - 5
    outlook = threshold_outlook(run)
    assert outlook.effective == outlook.threshold.good_images == len(held_out) - 5


def test_the_asked_rate_is_recorded_and_sets_the_threshold(product: Path, tmp_path: Path) -> None:
    root = _train(product, tmp_path / "run", false_alarm_rate=0.3)
    assert read_record(root).false_alarm_rate == 0.3
    run = load_run(root)
    own = [run.fitted_scores[path] for path in run.split.folds[0]]
    # Rank 10 of 12 at 0.3: ⌈13 · 0.7⌉.
    assert good_scores(run).threshold(own).value == pytest.approx(sorted(run.good_scores.values())[9])


def test_a_rate_that_is_none_is_refused_before_anything_is_written(product: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        _train(product, tmp_path / "run", false_alarm_rate=1.0)
    assert not (tmp_path / "run").exists()


def test_scores_that_are_not_of_the_runs_photos_are_refused(product: Path, tmp_path: Path) -> None:
    root = _train(product, tmp_path / "run")
    whole = (root / "run.json").read_text()
    record = json.loads(whole)
    record["good_scores"].popitem()
    (root / "run.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"scores in .*run\.json"):
        good_scores(load_run(root))
    record = json.loads(whole)
    record["split"]["folds"][1].append(record["split"]["folds"][0][0])  # a photo in two blocks
    (root / "run.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError):
        good_scores(load_run(root))


def test_a_run_that_held_its_first_block_out_counts_it_with_the_engines_own_scores(
    product: Path, tmp_path: Path
) -> None:
    root = _train(product, tmp_path / "run")
    record = json.loads((root / "run.json").read_text())
    del record["fitted_scores"]
    (root / "run.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="not of this split"):
        good_scores(load_run(root))
    for name in record["split"]["folds"][0]:
        del record["split"]["fit"][name]
    (root / "run.json").write_text(json.dumps(record))
    rule = good_scores(load_run(root))
    held_out = [rule.scores[index] for index, block in enumerate(rule.blocks) if block == 0]
    own = [held_out[0] + 300, *(score - 300 / (len(held_out) - 1) for score in held_out[1:])]  # of the same sum
    assert rule.threshold(own).value == max(own) > max(rule.scores)


def test_the_outlook_weighs_what_is_promised_against_what_is_found(product: Path, tmp_path: Path) -> None:
    outlook = threshold_outlook(load_run(_train(product, tmp_path / "run", false_alarm_rate=0.3)))
    assert [rate.false_alarm_rate for rate in outlook.rates] == [0.01, 0.02, 0.05, 0.3]
    assert outlook.threshold.good_images == 12
    recalls = [rate.recall for rate in outlook.rates]
    assert recalls == sorted(recalls)  # a lower threshold finds no less
    assert [more.photos for more in outlook.more] == [10, 50, 200]
    bounds = [more.bound for more in outlook.more]
    assert bounds[-1] < bounds[0]


def test_more_photos_bring_what_their_number_carries(product: Path, tmp_path: Path) -> None:
    rule = good_scores(load_run(_train(product, tmp_path / "run")))
    more = bound_with(90, 10, 10.0, 0.01, rule)
    assert more.stated == pytest.approx(0.02)  # 100 photos hold one in a hundred; doubled
    assert bound_with(90, 10, 5.0, 0.01, rule).stated == pytest.approx(2 / 51)


def test_train_tells_duplicates_recall_and_what_so_few_photos_cannot_carry(
    product: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = cv2.imread(str(product / "03.png"))
    assert cv2.imwrite(str(product / "30.png"), image)
    arguments = ["train", "patch-gaussian", "--data", str(product), "--size", "64", "--runs", str(tmp_path)]
    assert main([*arguments, "--no-check-photos", "--name", "a", "--false-alarm-rate", "0.02"]) == 0
    told = capsys.readouterr().out
    assert "near-duplicates: 2 photos in 1 groups, each of which counts once: 03.png = 30.png" in told
    assert "12 different photos cannot carry a false-alarm rate of 0.02" in told
    assert "of pseudo-defects found" in told
    assert "10 more" in told
    assert main([*arguments, "--no-check-photos", "--name", "b", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["threshold"]
    assert document["duplicates"] == [["03.png", "30.png"]]
    assert document["threshold"]["false_alarm_rate"] == 0.05
