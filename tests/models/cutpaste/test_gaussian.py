"""The covariance against scikit-learn, the distance against numpy."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf as reference

from edge_ad.errors import DataError
from edge_ad.models.cutpaste.mahalanobis import Mahalanobis, ledoit_wolf


@pytest.mark.parametrize(("count", "dimensions"), [(5, 40), (30, 30), (400, 7), (60, 1)])
def test_the_shrunk_covariance_is_scikit_learns(count: int, dimensions: int) -> None:
    rng = np.random.default_rng(count)
    samples = rng.normal(size=(count, dimensions)) @ rng.normal(size=(dimensions, dimensions)) * 3
    samples -= samples.mean(0)
    expected, expected_shrinkage = reference(samples, assume_centered=True)
    covariance, shrinkage = ledoit_wolf(torch.split(torch.from_numpy(samples), 4))
    np.testing.assert_allclose(covariance.numpy(), expected, rtol=1e-8, atol=1e-8)
    assert shrinkage == pytest.approx(expected_shrinkage, abs=1e-8)


def test_the_distance_of_one_vector_per_image_is_mahalanobis() -> None:
    torch.manual_seed(0)
    fit = torch.randn(20, 30, 1, 1, dtype=torch.float64) * torch.arange(1, 31)[:, None, None] + 5
    distance = Mahalanobis(30, (1, 1)).double()
    distance.fit(fit)
    new = torch.randn(4, 30, 1, 1, dtype=torch.float64) * 20
    samples, mean = fit.flatten(1).numpy(), fit.flatten(1).numpy().mean(0)
    inverse = np.linalg.inv(reference(samples)[0] + 1e-6 * np.eye(30))
    centred = new.flatten(1).numpy() - mean
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, inverse, centred))
    np.testing.assert_allclose(distance(new).flatten().numpy(), expected, rtol=1e-9)


def test_each_position_has_its_own_mean_and_all_share_a_covariance() -> None:
    torch.manual_seed(0)
    fit = torch.randn(12, 5, 2, 3, dtype=torch.float64) + 10 * torch.randn(5, 2, 3, dtype=torch.float64)
    distance = Mahalanobis(5, (2, 3)).double()
    distance.fit(fit)
    new = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    centred = (fit - fit.mean(0)).permute(0, 2, 3, 1).reshape(-1, 5).numpy()
    inverse = np.linalg.inv(reference(centred, assume_centered=True)[0] + 1e-6 * np.eye(5))
    away = (new - fit.mean(0)).numpy()
    expected = np.sqrt(np.einsum("nihw,ij,njhw->nhw", away, inverse, away))
    np.testing.assert_allclose(distance(new)[:, 0].numpy(), expected, rtol=1e-9)


def test_a_new_unit_divides_every_distance() -> None:
    distance = Mahalanobis(3, (1, 1)).double()
    distance.fit(torch.randn(9, 3, 1, 1, dtype=torch.float64))
    new = torch.randn(2, 3, 1, 1, dtype=torch.float64)
    before = distance(new)
    distance.divide_by(4.0)
    torch.testing.assert_close(distance(new), before / 4)


def test_images_that_are_all_the_same_leave_finite_distances() -> None:
    distance = Mahalanobis(4, (2, 2))
    distance.fit(torch.ones(3, 4, 2, 2))
    assert torch.isfinite(distance(torch.zeros(1, 4, 2, 2))).all()


def test_one_image_is_refused() -> None:
    with pytest.raises(DataError, match="variance"):
        Mahalanobis(4, (2, 2)).fit(torch.ones(1, 4, 2, 2))
