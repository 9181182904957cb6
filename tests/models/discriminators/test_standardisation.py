"""Standardised features have the moments that each kind promises."""

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_ad.models.discriminators.standardisation import CrossFit, Standardisation, StandardisationKind
from edge_ad.models.gaussian import PositionGaussian

CHANNELS = 5


@pytest.fixture
def features() -> Tensor:
    mixing = torch.randn(CHANNELS, CHANNELS, dtype=torch.float64)
    base = torch.einsum("cd,ndhw->nchw", mixing, torch.randn(9, CHANNELS, 4, 6, dtype=torch.float64))
    return base + 3 * torch.randn(1, CHANNELS, 4, 6, dtype=torch.float64)


def _standardise(features: Tensor, kind: StandardisationKind) -> Tensor:
    standardisation = Standardisation(CHANNELS, (4, 6), kind).double()
    standardisation.fit(features)
    standardised: Tensor = standardisation(features)
    return standardised


def test_none_only_lines_positions_up(features: Tensor) -> None:
    standardised = _standardise(features, "none")
    assert torch.equal(standardised[2, 7], features[2, :, 1, 1])


def test_channel_gives_each_channel_mean_zero_and_deviation_one(features: Tensor) -> None:
    flat = _standardise(features, "channel").flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(CHANNELS).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(flat.std(0, correction=0), torch.ones(CHANNELS).double(), atol=1e-5, rtol=0)


def test_whiten_gives_the_identity_as_covariance_but_for_the_regularisation(features: Tensor) -> None:
    flat = _standardise(features, "whiten").flatten(0, 1).numpy()
    values = np.linalg.eigvalsh(np.cov(flat.T, bias=True))
    assert np.abs(flat.mean(0)).max() < 1e-9
    assert values.max() <= 1
    assert values.max() > 0.99


def test_position_is_the_mahalanobis_distance_to_the_mean_of_each_position(features: Tensor) -> None:
    distances = _standardise(features, "position").norm(dim=2).numpy()
    centred = (features - features.mean(0)).permute(0, 2, 3, 1).reshape(-1, CHANNELS).numpy()
    covariance = centred.T @ centred / len(centred)
    covariance += (1e-2 * np.trace(covariance) / CHANNELS + 1e-6) * np.eye(CHANNELS)
    expected = np.sqrt(np.einsum("pc,cd,pd->p", centred, np.linalg.inv(covariance), centred))
    np.testing.assert_allclose(distances.ravel(), expected, rtol=1e-9)


def test_local_is_the_distance_of_the_patch_gaussian(features: Tensor) -> None:
    gaussian = PositionGaussian(CHANNELS, (4, 6), rank=3, shrinkage=0.4).double()
    gaussian.fit(features)
    standardisation = Standardisation(CHANNELS, (4, 6), "local", rank=3, shrinkage=0.4).double()
    standardisation.fit(features)
    lengths = standardisation(features).norm(dim=2).reshape(9, 1, 4, 6)
    torch.testing.assert_close(lengths, gaussian(features))


@pytest.mark.parametrize("kind", ["position", "local"])
def test_what_is_fitted_per_position_is_cross_fitted(features: Tensor, kind: StandardisationKind) -> None:
    standardisation, others = (Standardisation(CHANNELS, (4, 6), kind).double() for _ in range(2))
    standardisation.fit(features)
    state = {name: value.clone() for name, value in standardisation.state_dict().items()}
    others.fit(features[[index for index in range(9) if index % 5 != 1]])
    torch.testing.assert_close(CrossFit(standardisation, features)(features)[6], others(features[6:7])[0])
    assert all(torch.equal(value, state[name]) for name, value in standardisation.state_dict().items())


@pytest.mark.parametrize("kind", ["none", "channel", "whiten"])
def test_what_is_fitted_on_all_positions_is_not(features: Tensor, kind: StandardisationKind) -> None:
    standardisation = Standardisation(CHANNELS, (4, 6), kind).double()
    standardisation.fit(features)
    assert torch.equal(CrossFit(standardisation, features)(features), standardisation(features))


@pytest.mark.parametrize("kind", ["channel", "whiten", "position", "local"])
def test_features_that_never_vary_stay_finite(kind: StandardisationKind) -> None:
    assert torch.isfinite(_standardise(torch.ones(3, CHANNELS, 4, 6).double(), kind)).all()


def test_all_views_of_a_photo_lie_in_one_fold(features: Tensor) -> None:
    seen = features[:8]  # four photos, each with one view
    standardisation, others = (Standardisation(CHANNELS, (4, 6), "position").double() for _ in range(2))
    standardisation.fit(seen)
    others.fit(seen[[0, 1, 4, 5, 6, 7]])
    crossed = CrossFit(standardisation, seen, 1)
    torch.testing.assert_close(crossed(seen)[2:4], others(seen[2:4]))
    torch.testing.assert_close(crossed(seen[[3]], torch.tensor([1])), others(seen[[3]]))
