"""The learned metric starts as the Gaussian, and learns which directions count."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.gaussian import PositionGaussian
from edge_ad.models.patch_metric import PatchMetric
from tests.models.detectors import train

SIDE = 8


@pytest.fixture
def detector() -> PatchMetric:
    made = create_detector("patch-metric", {"size": 64, "rank": 4, "shrinkage": 0.3, "positions": 1})
    assert isinstance(made, PatchMetric)
    return made


def _features(count: int, detector: PatchMetric) -> Tensor:
    return torch.randn(count, detector.patch_features.channels, SIDE, SIDE)


@pytest.mark.parametrize("rank", [1, 5, 30])
def test_the_length_of_a_standardised_feature_is_its_mahalanobis_distance(rank: int) -> None:
    gaussian = PositionGaussian(6, (3, 4), rank=rank, shrinkage=0.3).double()
    gaussian.fit(torch.randn(20, 6, 3, 4, dtype=torch.float64) * torch.arange(1, 7)[:, None, None])
    features = torch.randn(5, 6, 3, 4, dtype=torch.float64) * 3
    lengths = gaussian.standardise(features).norm(dim=2).reshape(5, 1, 3, 4)
    torch.testing.assert_close(lengths, gaussian(features))


def test_standardised_features_have_the_inverse_covariance_as_inner_product() -> None:
    gaussian = PositionGaussian(3, (1, 1), rank=3, shrinkage=0.5).double()
    samples = torch.randn(9, 3, 1, 1, dtype=torch.float64)
    gaussian.fit(samples)
    basis = torch.eye(3, dtype=torch.float64)[:, :, None, None] + gaussian.get_buffer("mean")
    inner = gaussian.standardise(basis)[:, 0] @ gaussian.standardise(basis)[:, 0].T
    centred = samples.flatten(1) - samples.flatten(1).mean(0)
    own = centred.T @ centred / 8
    shared = own + (1e-2 * own.diagonal().mean() + 1e-6) * torch.eye(3)  # there is one position, so both are its own
    torch.testing.assert_close(inner, torch.linalg.inv(0.5 * shared + 0.5 * own), rtol=1e-6, atol=1e-8)


def test_untrained_it_is_the_gaussian(detector: PatchMetric) -> None:
    fit = _features(10, detector)
    detector.fit_features(fit, fit)
    features = _features(3, detector)
    assert detector.standardisation.gaussian is not None
    with torch.no_grad():
        torch.testing.assert_close(
            detector.score_patches(features), detector.standardisation.gaussian(features), rtol=1e-4, atol=1e-4
        )


def test_a_fitting_image_is_standardised_by_a_gaussian_that_has_not_seen_it(detector: PatchMetric) -> None:
    fit = _features(10, detector)
    detector.fit_features(fit, fit)
    frozen = detector.frozen_outputs(torch.empty(10, 0), fit)
    others = PositionGaussian(fit.shape[1], (SIDE, SIDE), rank=4, shrinkage=0.3)
    others.fit(fit[[index for index in range(10) if index % 5 != 2]])
    torch.testing.assert_close(frozen[7], others.standardise(fit[7:8])[0])


def test_only_patches_that_a_defect_covers_count_as_defective(detector: PatchMetric) -> None:
    fit = _features(10, detector)
    detector.fit_features(fit, fit)
    masks = torch.zeros(10, 64, 64, dtype=torch.bool)
    masks[3, 8:16, 16:24] = True  # all of one patch
    masks[4, 0:2, 0:8] = True  # a quarter of another
    detector.fit_defects(fit, masks)
    (pool,) = detector.metric._defects
    assert len(pool) == 1
    torch.testing.assert_close(pool[0], detector.frozen_outputs(torch.empty(10, 0), fit)[3, 1 * SIDE + 2])


def test_its_loss_is_the_cross_entropy_of_the_scaled_distance(detector: PatchMetric) -> None:
    frozen = torch.randn(2, SIDE * SIDE, detector.patch_features.channels)
    detector.metric._defects = [3 * torch.ones(1, frozen.shape[2])]
    torch.nn.init.normal_(detector.metric.weight)
    detector.metric.scale.fill_(0.2)
    detector.metric.offset.fill_(-1.5)
    terms = detector.training_loss(TrainingBatch(torch.empty(2, 0), frozen), detector.stages()[0], torch.Generator())
    logits = 0.2 * (frozen.flatten(0, 1) @ detector.metric.weight.T).norm(dim=1) - 1.5
    torch.testing.assert_close(terms["normal"], F.binary_cross_entropy_with_logits(logits, torch.zeros(128)))
    logit = 0.2 * (detector.metric._defects[0] @ detector.metric.weight.T).norm(dim=1) - 1.5
    torch.testing.assert_close(terms["defective"], F.binary_cross_entropy_with_logits(logit, torch.ones(1)))


def test_it_learns_to_look_where_defects_differ_and_away_from_where_good_parts_do(detector: PatchMetric) -> None:
    detector.fit_features(_features(10, detector), _features(2, detector))
    frozen = torch.randn(4, SIDE * SIDE, detector.patch_features.channels)
    defects = torch.randn(200, frozen.shape[2])
    defects[:, 5] *= 6
    detector.metric._defects = [defects]
    train(detector, TrainingBatch(torch.empty(4, 0), frozen), detector.stages()[0], steps=60)
    lengths = detector.metric.weight.detach().norm(dim=0)
    assert lengths.argmax() == 5
    assert lengths[5] > 1.05 * lengths.median()


def test_without_a_defect_that_covers_a_patch_training_goes_on(detector: PatchMetric) -> None:
    frozen = torch.randn(2, SIDE * SIDE, detector.patch_features.channels)
    detector.metric._defects = [torch.empty(0, frozen.shape[2])]
    history = train(detector, TrainingBatch(torch.empty(2, 0), frozen), detector.stages()[0], steps=3)
    assert set(history[0]) == {"normal"}
