"""A method that learns nothing from photos: all good ones set its threshold, and its run is exported as others are."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.cli import main
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import good_scores, load_run, torch_predictor
from edge_ad.training.train import train
from tests.models.transformer_folders import save_clip

pytest.importorskip("transformers")


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """Twenty photos of noise."""
    rng, root = np.random.default_rng(0), tmp_path / "product"
    root.mkdir()
    for index in range(20):
        assert cv2.imwrite(str(root / f"{index:02d}.png"), rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return root


def test_every_good_photo_sets_the_threshold_and_the_bundle_gives_the_runs_numbers(
    product: Path, tmp_path: Path
) -> None:
    values = {"size": 64, "clip_model": str(save_clip(tmp_path / "clip")), "part": "tile"}
    root = train(TrainingRequest("winclip", product, tmp_path / "run", values), lambda report: None)
    run = load_run(root)
    assert len(run.good_scores) == 20
    path, score = next(iter(run.good_scores.items()))
    image = cv2.imread(str(path))
    assert image is not None
    assert torch_predictor(run.detector)(image[None])[0].score == pytest.approx(score, abs=1e-6)
    assert len(good_scores(run).scores) == 20
    assert main(["export", str(root)]) == 0
    assert main(["verify", str(root)]) == 0
