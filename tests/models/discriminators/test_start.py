"""Where a discriminator begins: random weights, the distance to the mean, or a metric learned from pseudo-defects."""

import pytest
import torch
from torch import Tensor

from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.discriminators.discriminator import Discriminator
from tests.models.detectors import train


def _detector(start: str) -> Discriminator:
    made = create_detector("simplenet", {"size": 64, "hidden": 32, "rank": 3, "start": start})
    assert isinstance(made, Discriminator)
    return made


def _fitted(start: str) -> tuple[Discriminator, Tensor]:
    """A detector and the standardised features it was fitted on, all of one image painted over."""
    detector = _detector(start)
    features = torch.randn(6, detector.patch_features.channels, *detector.grid_hw)
    detector.fit_features(features, features)
    if start == "metric":
        painted = features.clone()
        painted[:, 5] *= 6
        detector.fit_defects(painted, torch.ones(6, 64, 64, dtype=torch.bool))
    return detector, detector.frozen_outputs(torch.empty(6, 0), features)


def test_from_a_metric_it_first_learns_the_metric_and_then_starts_as_it() -> None:
    detector, frozen = _fitted("metric")
    metric, discriminator = detector.stages()
    train(detector, TrainingBatch(torch.empty(6, 0), frozen), metric, steps=40)
    assert detector.metric is not None
    lengths = detector.metric.weight.detach().norm(dim=0)
    assert lengths.argmax() == 5
    detector.start_stage(discriminator)
    detector.eval()
    features = torch.randn(2, detector.patch_features.channels, *detector.grid_hw)
    with torch.no_grad():
        expected = detector.metric.logits(detector.head.standardisation(features)).reshape(2, 1, *detector.grid_hw)
        torch.testing.assert_close(detector.score_patches(features), expected, rtol=1e-4, atol=1e-4)


def test_the_metric_is_left_alone_by_the_discriminator() -> None:
    detector, frozen = _fitted("metric")
    assert detector.metric is not None
    train(detector, TrainingBatch(torch.empty(6, 0), frozen), detector.stages()[-1], steps=3)
    assert torch.equal(detector.metric.weight, torch.eye(frozen.shape[2]))
    assert not torch.equal(detector.head.projection.weight, torch.eye(frozen.shape[2]))


@pytest.mark.parametrize("start", ["random", "distance"])
def test_without_a_metric_there_is_one_stage_and_no_pseudo_defect(start: str) -> None:
    detector = _detector(start)
    assert [stage.name for stage in detector.stages()] == ["discriminator"]
    assert detector.defect_draws == 0
    assert not any(name.startswith("metric") for name, _ in detector.named_parameters())


@pytest.mark.parametrize("start", ["random", "distance", "metric"])
def test_fitting_again_forgets_what_was_learned(start: str) -> None:
    (detector, frozen), (other, _) = _fitted(start), _fitted(start)
    for stage in detector.stages():
        train(detector, TrainingBatch(torch.empty(6, 0), frozen), stage, steps=2)
    features = torch.randn(6, frozen.shape[2], *detector.grid_hw)
    for fresh in (detector, other):
        fresh.fit_features(features, features)
        fresh.start_stage(fresh.stages()[-1])
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in detector.state_dict().items())
