"""What engines compute of a Gaussian and the map behind it is what was trained."""

from typing import Any

import pytest
import torch
from torch import nn

from edge_ad.models import create_detector
from edge_ad.models.discriminators.discriminator import Discriminator
from edge_ad.models.discriminators.metric import Metric
from edge_ad.models.gaussian import MappedGaussian, PositionGaussian
from edge_ad.models.patch_metric import MetricDistance, PatchMetric

CHANNELS, GRID = 6, (3, 4)


def _fitted(rank: int) -> PositionGaussian:
    gaussian = PositionGaussian(CHANNELS, GRID, rank=rank, shrinkage=0.3)
    gaussian.fit(torch.randn(20, CHANNELS, *GRID) * torch.arange(1, CHANNELS + 1)[:, None, None])
    return gaussian


@torch.no_grad()
def _draw_near_identity(weight: torch.Tensor, *, spread: float) -> None:
    nn.init.normal_(weight, std=spread).diagonal().add_(1)


def _metric(weight: torch.Tensor) -> Metric:
    metric = Metric(CHANNELS)
    metric.weight.copy_(weight)
    return metric


@pytest.mark.parametrize("rank", [1, 3, 30])
def test_the_map_of_a_standardised_feature_is_the_same_in_one_form(rank: int) -> None:
    gaussian, layer = _fitted(rank), nn.Linear(CHANNELS, CHANNELS)
    _draw_near_identity(layer.weight, spread=0.2)
    mapped = MappedGaussian(gaussian, layer)
    features = torch.randn(5, CHANNELS, *GRID) * 3
    expected = layer.double()(gaussian.double().standardise(features.double()))
    torch.testing.assert_close(mapped(features).double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3, 5, 30])  # twice the rank is below, at and above the number of channels
def test_the_distance_is_the_length_of_the_mapped_standardised_feature(rank: int) -> None:
    gaussian, metric = _fitted(rank), _metric(torch.eye(CHANNELS) + 0.2 * torch.randn(CHANNELS, CHANNELS))
    distance = MetricDistance(gaussian, metric)
    features = torch.randn(5, CHANNELS, *GRID) * 3
    expected = metric.double()(gaussian.double().standardise(features.double()))
    torch.testing.assert_close(distance(features).double(), expected, rtol=1e-5, atol=1e-5)
    assert distance.get_buffer("directions").shape == (12, CHANNELS, min(2 * rank, CHANNELS))


def test_without_a_spread_between_images_the_distance_is_plain() -> None:
    gaussian, metric = PositionGaussian(CHANNELS, GRID, rank=2, shrinkage=0.25), _metric(2 * torch.eye(CHANNELS))
    features = torch.randn(2, CHANNELS, *GRID)
    expected = 2 / 0.25**0.5 * features.flatten(2).norm(dim=1)
    torch.testing.assert_close(MetricDistance(gaussian, metric)(features), expected)


def test_a_feature_at_the_mean_has_distance_zero() -> None:
    gaussian = _fitted(3)
    distance = MetricDistance(gaussian, _metric(torch.eye(CHANNELS)))
    assert float(distance(gaussian.get_buffer("mean")).max()) < 1e-5


def test_a_detector_is_deployed_with_it_and_stays_as_it_was() -> None:
    detector = _detector()
    _draw_near_identity(detector.metric.weight, spread=0.02)
    features = torch.randn(3, detector.patch_features.channels, 8, 8)
    deployed = detector.deployed()
    torch.testing.assert_close(deployed.score_patches(features), detector.score_patches(features), rtol=1e-4, atol=1e-4)
    assert deployed.metric_distance is not None
    assert detector.metric_distance is None


def test_a_metric_that_ignores_a_direction_is_deployed_as_it_was_trained() -> None:
    detector = _detector()
    detector.metric.weight[0].zero_()
    assert detector.deployed() is detector


@pytest.mark.parametrize(
    ("method", "values"),
    [("simplenet", {}), ("pbas", {"refine": False}), ("boundary-shuffling", {}), ("simplenet", {"start": "random"})],
)
def test_a_discriminator_is_deployed_with_it_and_stays_as_it_was(method: str, values: dict[str, Any]) -> None:
    detector = create_detector(method, {"size": 64, "rank": 4, "hidden": 8, **values})
    assert isinstance(detector, Discriminator)
    features = torch.randn(10, detector.patch_features.channels, 8, 8)
    detector.fit_features(features, features)
    detector.frozen_outputs(features, features)
    detector.start_stage(detector.stages()[-1])
    _draw_near_identity(detector.head.projection.weight, spread=0.02)
    nn.init.normal_(detector.head.projection.bias)
    nn.init.normal_(detector.head.out.weight)
    deployed = detector.eval().deployed().eval()
    with torch.no_grad():
        expected, found = (one.score_patches(features) for one in (detector, deployed))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert deployed.head.whole is not None
    assert detector.head.whole is None


def test_a_projection_that_loses_a_direction_is_deployed_as_it_was_trained() -> None:
    detector = create_detector("simplenet", {"size": 64, "rank": 4, "hidden": 8})
    assert isinstance(detector, Discriminator)
    nn.init.zeros_(detector.head.projection.weight)
    assert detector.deployed().head.whole is None


def _detector() -> PatchMetric:
    made = create_detector("patch-metric", {"size": 64, "rank": 4})
    assert isinstance(made, PatchMetric)
    fit = torch.randn(10, made.patch_features.channels, 8, 8)
    made.fit_features(fit, fit)
    return made.eval()
