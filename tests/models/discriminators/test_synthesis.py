"""Synthesised anomalies lie where the equations put them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad.models.discriminators.synthesis import add_noise, along_ray, at_distance, draw_similar, nudge, shuffle


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_has_the_deviation_that_was_asked_for_and_follows_the_generator() -> None:
    normal = torch.full((4000, 5), 3.0)
    fake = add_noise(normal, 0.5, _generator())
    assert (fake - normal).std().item() == pytest.approx(0.5, rel=0.02)
    assert (fake - normal).mean().item() == pytest.approx(0.0, abs=0.02)
    assert torch.equal(fake, add_noise(normal, 0.5, _generator()))


def test_a_ray_goes_outwards_by_a_share_of_the_mean_distance() -> None:
    normal = torch.tensor([[3.0, 4.0], [0.0, 1.0]])  # distances 5 and 1 from the origin, mean 3
    fake = along_ray(normal, torch.zeros(2, 2), 0.5)
    torch.testing.assert_close(fake, torch.tensor([[3.9, 5.2], [0.0, 2.5]]))


def test_the_offset_of_a_ray_has_no_gradient() -> None:
    normal = torch.randn(3, 4, requires_grad=True)
    along_ray(normal, torch.zeros(3, 4), 0.3).sum().backward()  # type: ignore[no-untyped-call]
    assert normal.grad is not None
    assert torch.equal(normal.grad, torch.ones(3, 4))


def test_a_nudge_has_length_alpha_and_the_direction_of_the_gradient() -> None:
    moved = nudge(torch.ones(1, 2), torch.tensor([[30.0, 40.0]]), 0.5)
    torch.testing.assert_close(moved, torch.tensor([[1.3, 1.4]]))


def test_a_patch_is_brought_to_its_distance_from_the_centre() -> None:
    moved = at_distance(torch.tensor([[1.0, 4.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0]]))
    torch.testing.assert_close(moved, torch.tensor([[1.0, 3.0]]))


def test_a_patch_at_its_centre_stays_finite() -> None:
    at_centre = torch.zeros(1, 3)
    assert torch.isfinite(along_ray(at_centre, at_centre, 1.0)).all()
    assert torch.isfinite(nudge(at_centre, at_centre, 1.0)).all()
    assert torch.isfinite(at_distance(at_centre, at_centre, torch.ones(1, 1))).all()


def test_shuffling_mixes_masked_patches_with_their_partners() -> None:
    patches = torch.tensor([[[0.0], [10.0], [20.0]]])
    shuffled = shuffle(patches, torch.tensor([[1, 2, 0]]), torch.tensor([[1.0, 0.0, 1.0]]), 0.25)
    torch.testing.assert_close(shuffled, torch.tensor([[[2.5], [10.0], [15.0]]]))


def test_with_many_candidates_the_partner_is_the_most_similar_patch() -> None:
    angles = torch.tensor([0.0, 1.0, 0.1, 1.2])
    patches = torch.stack([angles.cos(), angles.sin()], 1)[None]
    assert draw_similar(patches, 64, _generator()).tolist() == [[2, 3, 0, 1]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(2, 9), st.integers(1, 5), st.integers(0, 99))
def test_a_partner_is_another_patch_of_the_same_image(images: int, count: int, candidates: int, seed: int) -> None:
    patches = torch.randn(images, count, 3, generator=_generator(seed))
    partners = draw_similar(patches, candidates, _generator(seed))
    assert partners.shape == (images, count)
    assert ((partners >= 0) & (partners < count)).all()
    assert (partners != torch.arange(count)).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(0, 99))
def test_shuffled_patches_lie_between_a_patch_and_its_partner(strength: float, seed: int) -> None:
    patches = torch.randn(2, 6, 4, generator=_generator(seed))
    partners = draw_similar(patches, 2, _generator(seed))
    mask = (torch.rand(2, 6, generator=_generator(seed)) < 0.5).float()
    shuffled = shuffle(patches, partners, mask, strength)
    others = patches.gather(1, partners[..., None].expand_as(patches))
    whole = (others - patches).norm(dim=2)
    torch.testing.assert_close((shuffled - patches).norm(dim=2), strength * mask * whole, atol=1e-5, rtol=1e-4)
    assert torch.equal(shuffled[mask == 0], patches[mask == 0])
