"""Standardised features have the moments that each kind promises."""

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_ad.models.discriminators.standardisation import Standardisation, StandardisationKind

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


@pytest.mark.parametrize("kind", ["channel", "whiten", "position"])
def test_features_that_never_vary_stay_finite(kind: StandardisationKind) -> None:
    assert torch.isfinite(_standardise(torch.ones(3, CHANNELS, 4, 6).double(), kind)).all()
