"""The patch-distance mask source: its limit, its soft form, and its cross-fitting."""

import pytest
import torch
from torch import Tensor

from edge_ad.errors import DataError
from edge_ad.models.mask_sources import PatchDistance
from edge_ad.models.mask_sources.patch_distance import DistanceKind

CHANNELS, GRID = 3, (4, 5)
KINDS: tuple[DistanceKind, ...] = ("gaussian", "nearest")


def _source(kind: DistanceKind, quantile: float = 0.9) -> PatchDistance:
    return PatchDistance(CHANNELS, GRID, kind=kind, quantile=quantile, rank=4, bank=64)


def _features(count: int) -> Tensor:
    return torch.randn(count, CHANNELS, *GRID)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.995])
def test_the_limit_leaves_the_asked_share_of_held_out_good_patches_above(kind: DistanceKind, quantile: float) -> None:
    source, held_out = _source(kind, quantile), _features(50)
    source.fit(_features(12), held_out)
    above = source.binary(source(held_out, held_out))
    assert above.mean().item() == pytest.approx(1 - quantile, abs=1.5 / held_out[:, 0].numel())
    assert set(above.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_patch_is_masked_and_its_neighbours_are_not(kind: DistanceKind) -> None:
    source = _source(kind, 0.995)
    source.fit(_features(12), _features(50))
    image = torch.zeros(1, CHANNELS, *GRID)
    image[0, :, 2, 3] = 30.0
    expected = torch.zeros(1, 1, *GRID)
    expected[0, 0, 2, 3] = 1
    assert torch.equal(source.binary(source(image, image)), expected)


def test_the_soft_mask_is_one_half_at_the_limit_and_grows_with_the_distance() -> None:
    source = _source("gaussian")
    source.fit(_features(12), _features(20))
    limit, spread = source.get_buffer("limit"), source.get_buffer("spread")
    suspicion = limit + spread * torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(source.soft(suspicion), torch.tensor([0.26894, 0.5, 0.73106]), atol=1e-4, rtol=0)
    assert source.binary(limit) == 0  # the limit itself is still good


@pytest.mark.parametrize("kind", KINDS)
def test_cross_fitting_measures_each_fifth_by_the_other_four(kind: DistanceKind) -> None:
    features = _features(11)
    source = _source(kind)
    source.fit(features, _features(20))
    got = source.cross_fitted(torch.empty(0), features)
    for fold in range(5):
        chosen = torch.arange(11) % 5 == fold
        other = _source(kind)
        other.fit(features[~chosen], _features(20))
        torch.testing.assert_close(got[chosen], other(features[chosen], features[chosen]))


@pytest.mark.parametrize("kind", KINDS)
def test_cross_fitting_leaves_the_fit_as_it_was(kind: DistanceKind) -> None:
    features = _features(8)
    source = _source(kind)
    source.fit(features, _features(20))
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    crossed = source.cross_fitted(torch.empty(0), features)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert crossed.shape == (8, 1, *GRID)
    assert crossed.mean() > 1.2 * source(features, features).mean()


@pytest.mark.parametrize("count", [3, 4])
def test_cross_fitting_takes_fewer_than_five_images(count: int) -> None:
    source = _source("gaussian")
    features = _features(count)
    source.fit(features, _features(4))
    assert torch.isfinite(source.cross_fitted(torch.empty(0), features)).all()


def test_two_images_cannot_be_cross_fitted_and_say_so() -> None:
    source = _source("gaussian")
    features = _features(2)
    source.fit(features, _features(4))
    with pytest.raises(DataError):
        source.cross_fitted(torch.empty(0), features)
