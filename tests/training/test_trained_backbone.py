"""A detector that trains its backbone is fitted on what the backbone has become."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from edge_ad.images import read_resized
from edge_ad.models.cutpaste import CutPaste
from edge_ad.models.feature_detector import PatchFeatures
from edge_ad.models.registry import create_detector
from edge_ad.training.checkpoints import Progress
from edge_ad.training.feature_cache import compute_features
from edge_ad.training.loop import EpochReport
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import Run, load_run
from edge_ad.training.train import resume, train

VALUES = {"size": 64, "head_epochs": 1, "epochs": 2, "hidden": 16}


def _ignore(report: EpochReport) -> None:
    pass


@pytest.fixture
def run(product: Path, tmp_path: Path) -> Run:
    return load_run(train(TrainingRequest("cutpaste", product, tmp_path / "run", VALUES), _ignore))


def _state(run: Run) -> dict[str, Tensor]:
    return run.detector.state_dict()


def test_the_gaussians_are_those_of_the_trained_backbone(run: Run) -> None:
    fresh = create_detector("cutpaste", VALUES)
    name = "patch_features.network.stages.4.0.project.weight"
    assert not torch.equal(_state(run)[name], fresh.state_dict()[name])
    assert run.detector.backbone is not None
    fit, held_out = (
        compute_features(run.detector.backbone, read_resized(part, (64, 64)))
        for part in (run.split.fit, run.split.calibrate)
    )
    torch.testing.assert_close(_state(run)["gaussian.window.mean"], fit.mean(0, keepdim=True))
    assert isinstance(run.detector, CutPaste)
    assert run.detector.score_features(held_out).score.mean().item() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("stop", [Progress(1, 1), Progress(1, 2)])
def test_a_stopped_training_goes_on_bit_for_bit(run: Run, product: Path, tmp_path: Path, stop: Progress) -> None:
    def interrupt(report: EpochReport) -> None:
        if report.progress == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TrainingRequest("cutpaste", product, tmp_path / "cut", VALUES), interrupt)
    again = _state(load_run(resume(tmp_path / "cut", _ignore)))
    for name, value in _state(run).items():
        assert torch.equal(value, again[name]), name


def test_nothing_is_computed_that_training_makes_stale(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    fit_features, forward = CutPaste.fit_features, PatchFeatures.forward

    def fitted(self: CutPaste, fit: Tensor, held_out: Tensor) -> None:
        seen.append("fitted")
        fit_features(self, fit, held_out)

    def ran(self: PatchFeatures, images: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            seen.append("computed")
        return forward(self, images)

    monkeypatch.setattr(CutPaste, "fit_features", fitted)
    monkeypatch.setattr(PatchFeatures, "forward", ran)
    train(TrainingRequest("cutpaste", product, tmp_path / "run", VALUES), lambda report: seen.append(report.stage))
    assert seen == ["head", "backbone", "backbone", "computed", "computed", "fitted"]
