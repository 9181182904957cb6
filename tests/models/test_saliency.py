"""Masks by saliency mass, and masks that do not look."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edge_ad.models.mask_sources import BackboneSaliency, ConstantMask
from edge_ad.models.mask_sources.base import top_mass


def _grid(*values: float) -> Tensor:
    return torch.tensor(values).reshape(1, 1, 2, -1)


def _by_sorting(values: list[int], share: float) -> list[float]:
    """Levels from the highest down until they hold the share."""
    kept: set[int] = set()
    for level in sorted(set(values), reverse=True):
        if sum(value for value in values if value in kept) >= share * sum(values):
            break
        kept.add(level)
    return [float(value in kept) for value in values]


def test_the_smallest_set_of_patches_that_holds_the_share_is_kept() -> None:
    saliency = _grid(4.0, 3.0, 2.0, 1.0)
    assert top_mass(saliency, 0.4).flatten().tolist() == [1, 0, 0, 0]
    assert top_mass(saliency, 0.5).flatten().tolist() == [1, 1, 0, 0]
    assert top_mass(saliency, 0.7).flatten().tolist() == [1, 1, 0, 0]
    assert top_mass(saliency, 0.8).flatten().tolist() == [1, 1, 1, 0]
    assert top_mass(saliency, 1.0).flatten().tolist() == [1, 1, 1, 1]


def test_equal_patches_are_kept_or_dropped_together() -> None:
    assert top_mass(_grid(2.0, 5.0, 2.0, 1.0), 0.6).flatten().tolist() == [1, 1, 1, 0]
    assert top_mass(torch.full((1, 1, 3, 3), 0.1), 0.01).sum() == 9


def test_an_image_without_saliency_keeps_nothing() -> None:
    assert top_mass(torch.zeros(2, 1, 4, 4), 0.6).sum() == 0


def test_patches_without_saliency_are_never_kept() -> None:
    assert top_mass(_grid(1.0, 0.0, 2.0, 0.0), 1.0).flatten().tolist() == [1, 0, 1, 0]


def test_images_of_a_batch_do_not_see_each_other() -> None:
    saliency = torch.rand(3, 1, 4, 4) * torch.tensor([1.0, 10.0, 0.1])[:, None, None, None]
    one_by_one = torch.cat([top_mass(image[None], 0.6) for image in saliency])
    assert torch.equal(top_mass(saliency, 0.6), one_by_one)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 50), min_size=2, max_size=24).filter(lambda v: len(v) % 2 == 0),
    eighths=st.integers(1, 8),
)
def test_agrees_with_sorting(values: list[int], eighths: int) -> None:
    saliency = torch.tensor(values, dtype=torch.float32).reshape(1, 1, 2, -1)
    assert top_mass(saliency, eighths / 8).flatten().tolist() == _by_sorting(values, eighths / 8)


def test_backbone_saliency_is_the_mean_magnitude_of_the_last_channels() -> None:
    features = torch.zeros(1, 5, 2, 2)
    features[0, :3] = 100.0  # the finer level does not count
    features[0, 3:, 0, 0] = torch.tensor([-4.0, 2.0])
    source = BackboneSaliency(2, mass=0.6)
    suspicion = source(torch.empty(0), features)
    assert suspicion.flatten().tolist() == [3, 0, 0, 0]
    assert source.binary(suspicion).flatten().tolist() == [1, 0, 0, 0]
    assert torch.equal(source.soft(suspicion), source.binary(suspicion))
    assert not source.locates


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_mask_does_not_look_at_the_image(value: float) -> None:
    source = ConstantMask(value, stride=8)
    suspicion = source(torch.rand(3, 3, 32, 64), None)
    assert torch.equal(suspicion, torch.full((3, 1, 4, 8), value))
    assert torch.equal(source.binary(suspicion), suspicion)
    assert torch.equal(source.cross_fitted(torch.rand(3, 3, 32, 64), None), suspicion)
