"""From one photo of a good part to a bundle, with a threshold that says what it is worth."""

from pathlib import Path

import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.data.views import with_views
from edge_ad.errors import DataError
from edge_ad.export.bundle_export import export_run
from edge_ad.images import read_resized
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import load_run
from edge_ad.training.train import train


def _few(product: Path, folder: Path, count: int) -> Path:
    photos = folder / "few"
    photos.mkdir()
    for path in sorted(product.iterdir())[:count]:
        (photos / path.name).write_bytes(path.read_bytes())
    return photos


def _export(photos: Path, root: Path, **values: object) -> Bundle:
    values = {"size": 64, "bank": 64, "rotations": 3, **values}
    return export_run(load_run(train(TrainingRequest("patch-nearest", photos, root, values), lambda report: None)))


def test_the_threshold_of_a_single_photo_promises_nothing_and_says_so(product: Path, tmp_path: Path) -> None:
    threshold = _export(_few(product, tmp_path, 1), tmp_path / "run", metric="cosine").graph("fp32").threshold
    assert threshold.value > 0
    assert (threshold.good_images, threshold.false_alarm_bound) == (1, 1.0)
    assert "promises nothing" in threshold.rule


@pytest.mark.parametrize("metric", ["cosine", "whitened"])
def test_a_few_photos_are_each_scored_by_a_detector_that_has_not_seen_them(
    metric: str, product: Path, tmp_path: Path
) -> None:
    bundle = _export(_few(product, tmp_path, 3), tmp_path / "run", metric=metric, bank=1000)
    run = load_run(tmp_path / "run")
    assert [len(fold) for fold in run.split.folds] == [1, 1, 1]
    # The bank knows its own photos by heart: their scores are next to nothing, and say nothing of the scale.
    assert max(run.fitted_scores.values()) < 0.3 * min(run.good_scores.values())
    assert bundle.graph("fp32").threshold.value == pytest.approx(max(run.good_scores.values()), rel=0.05)


def test_the_command_line_trains_on_one_photo_and_other_methods_ask_for_eight(
    product: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = _few(product, tmp_path, 1)
    arguments = ["--data", str(photos), "--runs", str(tmp_path), "--size", "64"]
    assert main(["train", "patch-nearest", *arguments, "-p", "bank=64"]) == 0
    told = capsys.readouterr()
    assert "promises nothing" in told.out
    assert "at most 100.0% is to be expected" in told.out
    assert "too few photos to tell which of them look odd" in told.out
    assert "warning" not in told.err
    with pytest.raises(DataError, match="at least 8"):
        train(TrainingRequest("patch-gaussian", photos, tmp_path / "other", {"size": 64}), lambda report: None)


def test_rotations_follow_each_photo_and_its_views(product: Path) -> None:
    images = read_resized(sorted(product.iterdir())[:2], (64, 64))
    together = with_views(images, 1, rotations=3)
    assert len(together) == 10
    assert (together[5] == images[1]).all()
    assert (together[7] == with_views(images, 0, rotations=3)[5]).all()
    quarter = together[2].astype(int)  # a quarter of a turn, by which a square keeps all its pixels
    assert abs(quarter - images[0].transpose(1, 0, 2)[::-1]).max() <= 1
