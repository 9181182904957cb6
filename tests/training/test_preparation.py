"""Training on cached features: what runs, what does not, and that other features give the same recipe."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from edge_ad.errors import UsageError
from edge_ad.images import read_resized
from edge_ad.models.feature_detector import PatchFeatures
from edge_ad.models.patch_metric import PatchMetricParameters
from edge_ad.training.feature_cache import compute_features
from edge_ad.training.loop import EpochReport
from edge_ad.training.preparation import refit
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import Run, good_scores, load_run, read_record, write_record
from edge_ad.training.threshold_outlook import threshold_outlook
from edge_ad.training.train import resume, train

LEARNED = ["simplenet", "pbas", "boundary-shuffling", "patch-metric"]


def _tiny(method: str) -> dict[str, int]:
    own = {"rank": 4} if method == "patch-metric" else {"hidden": 16, "metric_steps": 1}
    return {"size": 64, "epochs": 3, **own}


def _ignore(report: EpochReport) -> None:
    pass


def _request(product: Path, root: Path, method: str) -> TrainingRequest:
    return TrainingRequest(method, product, root, _tiny(method))


def _assert_same_state(first: Run, second: Run) -> None:
    a, b = first.detector.state_dict(), second.detector.state_dict()
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("method", LEARNED)
def test_the_backbone_does_not_run_in_the_epochs(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    calls, forward = [], PatchFeatures.forward

    def count(self: PatchFeatures, images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(PatchFeatures, "forward", count)
    train(_request(product, tmp_path / "run", method), lambda report: calls.append(-report.progress.epoch))
    epochs = [-1, -2, -3] if method == "patch-metric" else [-1, -1, -2, -3]  # the others learn a metric first
    assert calls[-len(epochs) :] == epochs
    assert sum(calls[: -len(epochs)]) == 8 + 2 + 2 * 8  # each fitting, calibration and defective image once


@pytest.mark.parametrize("method", LEARNED)
def test_a_stopped_training_goes_on_bit_for_bit(product: Path, tmp_path: Path, method: str) -> None:
    def interrupt(report: EpochReport) -> None:
        if report.progress.epoch == 2:
            raise KeyboardInterrupt

    whole = train(_request(product, tmp_path / "whole", method), _ignore)
    with pytest.raises(KeyboardInterrupt):
        train(_request(product, tmp_path / "cut", method), interrupt)
    _assert_same_state(load_run(whole), load_run(resume(tmp_path / "cut", _ignore)))


@pytest.mark.parametrize("method", [*LEARNED, "cutpaste", "patch-gaussian", "patch-nearest"])
def test_a_refit_on_the_same_features_changes_nothing_and_on_others_everything(
    product: Path, tmp_path: Path, method: str
) -> None:
    values = {"cutpaste": {"size": 64, "head_epochs": 1, "epochs": 1}}.get(method, {"size": 64})
    values = _tiny(method) if method in LEARNED else values
    run = load_run(train(TrainingRequest(method, product, tmp_path / "run", values), _ignore))
    fit, held_out = (read_resized(part, (64, 64)) for part in (run.split.fit, run.split.calibrate))
    assert run.detector.backbone is not None
    backbone = run.detector.backbone
    same = refit(run, fit, held_out, lambda images: compute_features(backbone, images))
    before = {name: value.clone() for name, value in run.detector.state_dict().items()}
    for name, value in same.state_dict().items():
        assert torch.equal(value, before[name]), name
    other = refit(run, fit, held_out, lambda images: 1.5 * compute_features(backbone, images) + 0.1)
    changed = {name for name, value in other.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert not any(name.startswith("patch_features.") for name in changed)
    assert all(torch.equal(value, before[name]) for name, value in run.detector.state_dict().items())


ROBUST = {"views": 2, "input_normalisation": "picture", "feature_centring": True, "matching": "moments"}


@pytest.mark.parametrize("method", ["patch-gaussian", "patch-metric", "simplenet", "fader"])
def test_a_refit_of_a_robust_detector_sees_the_same_views(product: Path, tmp_path: Path, method: str) -> None:
    own = {"fader": {"width": "pico", "steps": 2, "fader_steps": 2}, "patch-gaussian": {"rank": 4}}
    values = {"size": 64, **own[method]} if method in own else _tiny(method)
    run = load_run(train(TrainingRequest(method, product, tmp_path / "run", {**values, **ROBUST}), _ignore))
    fit, held_out = (read_resized(part, (64, 64)) for part in (run.split.fit, run.split.calibrate))
    assert run.detector.backbone is not None
    same = refit(run, fit, held_out, partial(compute_features, run.detector.backbone))
    for name, value in same.state_dict().items():
        assert torch.equal(value, run.detector.state_dict()[name]), name


def test_a_preset_is_recorded_and_what_is_named_goes_before_it(product: Path, tmp_path: Path) -> None:
    request = TrainingRequest("patch-gaussian", product, tmp_path / "run", {"size": 64, "views": 1}, preset="robust")
    record = read_record(train(request, _ignore))
    assert record.training["preset"] == "robust"
    assert (record.parameters["views"], record.parameters["input_normalisation"]) == (1, "picture")
    with pytest.raises(UsageError, match="preset"):
        train(replace(request, root=tmp_path / "other", preset="brave"), _ignore)


def test_a_stopped_run_that_is_older_than_the_remedies_goes_on_without_them(product: Path, tmp_path: Path) -> None:
    def interrupt(report: EpochReport) -> None:
        raise KeyboardInterrupt

    values = {**_tiny("patch-metric"), **PatchMetricParameters.absent}
    with pytest.raises(KeyboardInterrupt):
        train(TrainingRequest("patch-metric", product, tmp_path / "run", values), interrupt)
    record = read_record(tmp_path / "run")
    older = {name: value for name, value in record.parameters.items() if name not in PatchMetricParameters.absent}
    write_record(tmp_path / "run", record.model_copy(update={"parameters": older}))
    config = load_run(resume(tmp_path / "run", _ignore)).detector.config.model_dump()
    assert {name: config[name] for name in PatchMetricParameters.absent} == dict(PatchMetricParameters.absent)


def test_the_published_preset_sets_the_training_too_and_what_is_asked_for_goes_before_it(
    product: Path, tmp_path: Path
) -> None:
    values = {"size": 64, "backbone": "efficientnet-lite0", "embedding": 0, "hidden": 8, "epochs": 1}
    request = TrainingRequest("simplenet", product, tmp_path / "run", values, preset="published", batch_size=4)
    record = read_record(train(request, _ignore))
    assert record.training["batch_size"] == 4
    assert record.training["mixed_precision"] is False
    assert record.photos.geometry == "crop"
    assert record.photos.crop_share == pytest.approx(288 / 329)
    assert record.parameters["noise"] == 0.015


def test_a_run_that_was_trained_on_all_photos_has_a_threshold_that_promises_nothing(
    product: Path, tmp_path: Path
) -> None:
    request = TrainingRequest("simplenet", product, tmp_path / "run", _tiny("simplenet"), all_photos=True)
    run = load_run(train(request, _ignore))
    assert len(run.split.fit) == 12
    assert set(run.split.threshold) <= set(run.split.fit)
    threshold = good_scores(run).threshold([0.1, 0.2])
    assert threshold.false_alarm_bound == 1.0
    assert "were trained on" in threshold.rule
    outlook = threshold_outlook(run)
    assert (outlook.rates, outlook.more) == ((), ())


def test_a_detector_that_is_fitted_on_all_photos_anyway_keeps_its_threshold(product: Path, tmp_path: Path) -> None:
    values = {"size": 64, "rank": 4}
    request = TrainingRequest("patch-gaussian", product, tmp_path / "run", values, all_photos=True)
    run = load_run(train(request, _ignore))
    assert run.split.is_fitted_on_all
    assert good_scores(run).scores


def test_a_run_that_is_continued_goes_before_the_preset_of_what_continues_it(product: Path, tmp_path: Path) -> None:
    own = {"size": 64, "steps": 1, "width": "pico", "mask_source": "full", "mosaic": 8}
    ear = train(TrainingRequest("ear", product, tmp_path / "ear", own), _ignore)
    request = TrainingRequest("fader", product, tmp_path / "top", {"fader_epochs": 1}, preset="published", ear=ear)
    parameters = read_record(train(request, _ignore)).parameters
    assert {name: parameters[name] for name in own} == own
    assert (parameters["predictor"], parameters["fader_schedule"], parameters["fader_epochs"]) == ("mlp", "warm-up", 1)
