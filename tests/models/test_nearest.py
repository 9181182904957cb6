"""The bank of normal patches against brute force."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.models.patch_nearest import NearestNeighbour, k_centres

CHANNELS = 4


@pytest.fixture
def features() -> Tensor:
    mixing = torch.randn(CHANNELS, CHANNELS, dtype=torch.float64)
    return torch.einsum("cd,ndhw->nchw", mixing, torch.randn(3, CHANNELS, 4, 5, dtype=torch.float64)) + 2


def _brute_force(features: Tensor, queries: Tensor) -> NDArray[np.float64]:
    """Mahalanobis distance to the nearest of all patches, pair by pair."""
    patches = features.permute(0, 2, 3, 1).reshape(-1, CHANNELS).numpy()
    covariance = np.cov(patches.T)
    covariance = covariance + (1e-2 * np.trace(covariance) / CHANNELS + 1e-6) * np.eye(CHANNELS)
    inverse = np.linalg.inv(covariance)
    flat = queries.permute(0, 2, 3, 1).reshape(-1, CHANNELS).numpy()
    difference = flat[:, None] - patches[None]
    squared = np.einsum("qpc,cd,qpd->qp", difference, inverse, difference)
    distances: NDArray[np.float64] = np.sqrt(squared.min(1)).reshape(len(queries), 1, *queries.shape[2:])
    return distances


@pytest.mark.parametrize("size", [60, 200])
def test_a_bank_that_holds_every_patch_equals_brute_force(features: Tensor, size: int) -> None:
    nearest = NearestNeighbour(CHANNELS, size=size).double()
    nearest.fit(features)
    queries = torch.randn(2, CHANNELS, 3, 3, dtype=torch.float64) * 4
    np.testing.assert_allclose(nearest(queries).numpy(), _brute_force(features, queries), rtol=1e-6)


def test_a_patch_of_the_bank_is_as_near_as_distances_can_be_told(features: Tensor) -> None:
    nearest = NearestNeighbour(CHANNELS, size=60)
    nearest.fit(features.float())
    least = 1e-3**0.5 * nearest.get_buffer("bank").square().sum(1).mean().sqrt()
    torch.testing.assert_close(nearest(features.float()), least.expand(3, 1, 4, 5))


def test_rounding_does_not_show_where_a_patch_of_the_bank_is_seen_again() -> None:
    features = torch.randn(8, 256, 6, 6, dtype=torch.float64) + 3
    nearest = NearestNeighbour(256, size=200).double()
    nearest.fit(features)
    exact = nearest(features)
    assert (nearest.float()(features.float()) - exact).abs().max() < 1e-5 * exact.max()


def test_a_smaller_bank_is_a_subset_of_the_patches_and_never_nearer(features: Tensor) -> None:
    every, few = NearestNeighbour(CHANNELS, size=60).double(), NearestNeighbour(CHANNELS, size=12).double()
    every.fit(features)
    few.fit(features)
    apart = few.get_buffer("bank")[:, None] - every.get_buffer("bank")
    assert apart.norm(dim=2).amin(1).max() < 1e-9
    assert len(torch.unique(few.get_buffer("bank"), dim=0)) == 12
    queries = torch.randn(2, CHANNELS, 3, 3, dtype=torch.float64)
    assert (few(queries) >= every(queries) - 1e-9).all()


def test_the_seed_chooses_the_subset(features: Tensor) -> None:
    banks = []
    for seed in (0, 0, 1):
        nearest = NearestNeighbour(CHANNELS, size=12, seed=seed).double()
        nearest.fit(features)
        banks.append(nearest.get_buffer("bank").clone())
    assert torch.equal(banks[0], banks[1])
    assert not torch.equal(banks[0], banks[2])


def test_patches_that_are_all_the_same_can_be_fitted() -> None:
    nearest = NearestNeighbour(CHANNELS, size=8)
    nearest.fit(torch.ones(2, CHANNELS, 2, 2))
    assert nearest(torch.ones(1, CHANNELS, 2, 2)).max() < 1e-6
    assert torch.isfinite(nearest(torch.zeros(1, CHANNELS, 2, 2))).all()


def test_each_next_centre_is_the_vector_farthest_from_those_before_it() -> None:
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0], [5.0, 4.0], [0.0, 3.0]])
    assert k_centres(vectors, 4).tolist() == [0, 3, 2, 4]  # at 6.4, then 4 from the last, then 3 from the first
    assert sorted(k_centres(vectors, 9).tolist()) == [0, 1, 2, 3, 4]


def test_a_coreset_covers_the_patches_better_than_chance(features: Tensor) -> None:
    flat = torch.cat([torch.randn(400, CHANNELS) * 0.1, torch.randn(8, CHANNELS) * 5]).T.reshape(1, CHANNELS, 24, 17)
    farthest = {}
    for choice in ("random", "coreset"):
        nearest = NearestNeighbour(CHANNELS, size=16, choice=choice)
        nearest.fit(flat)
        farthest[choice] = float(nearest(flat).max())
    assert farthest["coreset"] < 0.5 * farthest["random"]


def test_the_cosine_metric_compares_directions_and_needs_no_covariance() -> None:
    patches = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).T.reshape(1, 2, 1, 2)
    nearest = NearestNeighbour(2, size=2, metric="cosine")
    nearest.fit(patches)
    queries = torch.tensor([[9.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]).T.reshape(1, 2, 1, 3)
    expected = [0.0, 1 - 0.5**0.5, 1.0]  # at 0, 45 and 90 degrees
    np.testing.assert_allclose(nearest(queries).flatten().numpy(), expected, atol=1e-6)


def test_the_euclidean_metric_compares_features_as_they_are(features: Tensor) -> None:
    nearest = NearestNeighbour(CHANNELS, size=60, metric="euclidean").double()
    nearest.fit(features)
    queries = torch.randn(2, CHANNELS, 3, 3, dtype=torch.float64) * 4
    patches = features.permute(0, 2, 3, 1).reshape(-1, CHANNELS)
    expected = torch.cdist(queries.permute(0, 2, 3, 1).reshape(-1, CHANNELS), patches).amin(1)
    torch.testing.assert_close(nearest(queries).flatten(), expected, rtol=1e-6, atol=1e-6)
