"""The Gaussian per position against the dense covariance it approximates."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.errors import DataError
from edge_ad.models.gaussian import PositionGaussian

CHANNELS, GRID = 5, (2, 3)


@pytest.fixture
def features() -> Tensor:
    """Seven images of correlated features, another mean and scale at every position."""
    mixed = torch.randn(7, CHANNELS, *GRID, dtype=torch.float64)
    mixed = torch.einsum("cd,ndhw->nchw", torch.randn(CHANNELS, CHANNELS, dtype=torch.float64), mixed)
    return mixed * (1 + torch.rand(1, 1, *GRID)) + 3 * torch.randn(1, CHANNELS, *GRID)


def _dense(fit: Tensor, queries: Tensor, shrinkage: float) -> NDArray[np.float64]:
    """Mahalanobis distance with S_p = k·S + (1 - k)·C_p, inverted densely."""
    samples = fit.permute(2, 3, 0, 1).reshape(-1, len(fit), CHANNELS).numpy()
    covariances = [np.cov(at.T) for at in samples]
    shared = np.mean(covariances, axis=0)
    shared = shared + (1e-2 * np.trace(shared) / CHANNELS + 1e-6) * np.eye(CHANNELS)
    out = np.zeros((len(queries), len(samples)))
    for position, (at, covariance) in enumerate(zip(samples, covariances, strict=True)):
        inverse = np.linalg.inv(shrinkage * shared + (1 - shrinkage) * covariance)
        difference = queries.flatten(2)[:, :, position].numpy() - at.mean(0)
        out[:, position] = np.sqrt(np.einsum("nc,cd,nd->n", difference, inverse, difference))
    return out.reshape(len(queries), 1, *GRID)


def _fitted(features: Tensor, rank: int, shrinkage: float = 0.2) -> PositionGaussian:
    gaussian = PositionGaussian(CHANNELS, GRID, rank=rank, shrinkage=shrinkage).double()
    gaussian.fit(features)
    return gaussian


@pytest.mark.parametrize("rank", [5, 6, 16])
@pytest.mark.parametrize("shrinkage", [0.05, 0.2, 0.9, 1.0])
def test_equals_the_dense_distance_when_the_rank_suffices(features: Tensor, rank: int, shrinkage: float) -> None:
    queries = torch.randn(4, CHANNELS, *GRID, dtype=torch.float64) * 5
    got = _fitted(features, rank, shrinkage)(queries).numpy()
    np.testing.assert_allclose(got, _dense(features, queries, shrinkage), rtol=1e-6)


def test_blocks_of_any_side_are_fitted_a_few_at_a_time() -> None:
    fit = torch.randn(6, CHANNELS, 24, 24)
    gaussian = PositionGaussian(CHANNELS, (24, 24), rank=2, block=3)
    gaussian.fit(fit)
    assert gaussian.get_buffer("directions").shape == (64, CHANNELS, 2)
    assert gaussian(fit).shape == (6, 1, 24, 24)


def test_positions_of_a_block_share_the_mean_of_their_covariances() -> None:
    fit = torch.randn(9, CHANNELS, 4, 6, dtype=torch.float64) * (1 + torch.arange(24.0).reshape(1, 1, 4, 6))
    queries = torch.randn(3, CHANNELS, 4, 6, dtype=torch.float64) * 20
    gaussian = PositionGaussian(CHANNELS, (4, 6), rank=CHANNELS, shrinkage=0.3, block=2).double()
    gaussian.fit(fit)
    samples = (fit - fit.mean(0)).permute(2, 3, 0, 1).numpy()
    covariances = np.einsum("hwnc,hwnd->hwcd", samples, samples) / 8
    shared = covariances.mean((0, 1))
    shared = shared + (1e-2 * np.trace(shared) / CHANNELS + 1e-6) * np.eye(CHANNELS)
    for row, column in ((0, 0), (1, 0), (2, 5), (3, 4)):
        block = covariances[row // 2 * 2 : row // 2 * 2 + 2, column // 2 * 2 : column // 2 * 2 + 2].mean((0, 1))
        inverse = np.linalg.inv(0.3 * shared + 0.7 * block)
        away = (queries - fit.mean(0))[:, :, row, column].numpy()
        expected = np.sqrt(np.einsum("nc,cd,nd->n", away, inverse, away))
        np.testing.assert_allclose(gaussian(queries)[:, 0, row, column].numpy(), expected, rtol=1e-6)


def test_fewer_images_than_channels_share_a_covariance_too() -> None:
    fit, queries = torch.randn(3, 40, 4, 4, dtype=torch.float64), torch.randn(2, 40, 4, 4, dtype=torch.float64)
    few, many = (PositionGaussian(40, (4, 4), rank=8, block=2).double() for _ in range(2))
    few.fit(fit)  # 12 samples a block: by their products
    many.fit(torch.cat([fit] * 4))  # 48: by their covariance, which is the same but for the divisors 2 and 11
    scale = (11 / 2 / 4) ** 0.5
    torch.testing.assert_close(few(queries) * scale, many(queries), rtol=2e-2, atol=0)


def test_a_block_that_does_not_divide_the_grid_is_made_smaller() -> None:
    assert [PositionGaussian(3, grid, block=4).block for grid in ((8, 12), (6, 8), (5, 8))] == [4, 2, 1]


def test_few_images_span_few_directions(features: Tensor) -> None:
    few = features[:3]
    np.testing.assert_allclose(_fitted(few, 16)(features).numpy(), _dense(few, features, 0.2), rtol=1e-6)
    assert torch.equal(_fitted(few, 16).get_buffer("directions")[..., 2:], torch.zeros(6, CHANNELS, 14).double())


def test_without_a_direction_only_the_shared_covariance_counts(features: Tensor) -> None:
    gaussian = _fitted(features, 4)
    gaussian.get_buffer("directions").zero_()
    np.testing.assert_allclose(gaussian(features).numpy() * np.sqrt(0.2), _dense(features, features, 1.0), rtol=1e-6)


def test_every_further_direction_comes_closer_to_the_dense_distance(features: Tensor) -> None:
    queries = torch.randn(4, CHANNELS, *GRID, dtype=torch.float64) * 5
    dense = torch.from_numpy(_dense(features, queries, 0.2))
    distances = [_fitted(features, rank)(queries) for rank in (1, 2, 3, 4, 5)]
    for less, more in pairwise(distances):
        assert (less >= more - 1e-9).all()
        assert (more >= dense - 1e-6).all()
        assert less.mean() > more.mean()


def test_the_mean_is_at_distance_zero(features: Tensor) -> None:
    distance = _fitted(features, 3)(features.mean(0, keepdim=True))
    assert distance.shape == (1, 1, *GRID)
    assert distance.abs().max() < 1e-6


def test_single_precision_agrees_with_double(features: Tensor) -> None:
    gaussian = PositionGaussian(CHANNELS, GRID, rank=5)
    gaussian.fit(features.float())
    torch.testing.assert_close(
        gaussian(features.float()).double(), _fitted(features, 5)(features), rtol=1e-3, atol=1e-3
    )


def test_images_that_are_all_the_same_can_be_fitted() -> None:
    gaussian = PositionGaussian(CHANNELS, GRID)
    gaussian.fit(torch.ones(4, CHANNELS, *GRID))
    assert gaussian(torch.ones(1, CHANNELS, *GRID)).max() == 0
    assert torch.isfinite(gaussian(torch.zeros(1, CHANNELS, *GRID))).all()


def test_the_smaller_matrix_gives_the_same_directions_as_the_larger(features: Tensor) -> None:
    few, queries = features[:5], torch.randn(4, CHANNELS, *GRID, dtype=torch.float64)
    doubled = _fitted(torch.cat([few, few]), 4, 0.5)  # 10 images, more than channels, with the covariance of 5 images
    whiten = np.sqrt(10 / 9 * 4 / 5)  # but for the divisor
    got = doubled(queries).numpy() * whiten
    np.testing.assert_allclose(got, _fitted(few, 4, 0.5)(queries).numpy(), rtol=1e-4)


def test_a_single_image_is_refused_and_leaves_the_fit_alone(features: Tensor) -> None:
    gaussian = _fitted(features, 3)
    before = {name: tensor.clone() for name, tensor in gaussian.state_dict().items()}
    with pytest.raises(DataError, match="One image"):
        gaussian.fit(features[:1])
    for name, tensor in gaussian.state_dict().items():
        assert torch.equal(tensor, before[name])
