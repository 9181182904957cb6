"""MSFlow as a mask source: its scales, its limit, what it makes of photos it was trained on, and its way into EAR."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models import create_detector
from edge_ad.models.ear import Ear
from edge_ad.models.mask_sources import FlowLikelihood
from tests.models.detectors import fit

CHANNELS, GRID = (4, 6), (8, 12)


def source(steps: int = 40, quantile: float = 0.95) -> FlowLikelihood:
    return FlowLikelihood(CHANNELS, GRID, quantile=quantile, steps=steps, seed=0)


def features(count: int, seed: int) -> Tensor:
    """Smooth in the channels of the coarse level, as upsampled ones are."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randn(count, CHANNELS[0], *GRID, generator=generator)
    coarse = torch.randn(count, CHANNELS[1], GRID[0] // 2, GRID[1] // 2, generator=generator)
    return torch.cat([fine, F.interpolate(coarse, GRID)], 1)


def test_the_levels_are_on_grids_of_their_own_again() -> None:
    given = features(2, 0)
    fine, middle, coarse = source().scales(given)
    assert torch.equal(fine, given[:, :4])
    torch.testing.assert_close(F.interpolate(middle, GRID), given[:, 4:])
    torch.testing.assert_close(coarse, F.avg_pool2d(middle, 3, 2, 1))


def test_the_limit_leaves_the_asked_share_of_held_out_good_patches_above() -> None:
    made, held_out = source(), features(20, 1)
    made.fit(features(12, 2), held_out)
    above = made.binary(made(held_out, held_out))
    assert above.mean().item() == pytest.approx(0.05, abs=0.002)
    assert set(above.flatten().tolist()) == {0.0, 1.0}
    assert float(made.soft(made.get_buffer("limit"))) == 0.5


def test_photos_it_was_trained_on_are_masked_as_much_as_others() -> None:
    made, seen = source(steps=80), features(6, 2)
    made.fit(seen, features(20, 1))
    as_it_is, as_new = made.binary(made(seen, seen)), made.binary(made.cross_fitted(seen, seen))
    assert as_it_is.mean() < 0.03
    assert as_new.mean().item() == pytest.approx(0.05, abs=0.01)


def test_a_foreign_patch_is_suspected() -> None:
    made, held_out = source(quantile=0.99), features(20, 1)
    made.fit(features(12, 2), held_out)
    foreign = held_out[:1].clone()
    foreign[:, :, 2:4, 6:8] += 6
    row, column = divmod(int((made(foreign, foreign) - made(held_out[:1], held_out[:1])).flatten().argmax()), GRID[1])
    assert (row, column) in {(2, 6), (2, 7), (3, 6), (3, 7)}
    assert made.binary(made(foreign, foreign))[0, 0, 2:4, 6:8].all()


def test_the_same_photos_give_the_same_mask_and_the_deployed_form_too() -> None:
    first, second = source(steps=5), source(steps=5)
    for each in (first, second):
        each.fit(features(5, 2), features(4, 1))
    given = features(3, 3)
    assert torch.equal(first(given, given), second(given, given))
    torch.testing.assert_close(first.deployed((64, 96))(given, given), first(given, given), rtol=1e-4, atol=1e-5)


def test_ear_with_it_composes_softly_and_is_exported_without_its_permutations(images: Tensor) -> None:
    ear = create_detector("ear", {"size": 64, "width": "pico", "mask_source": "msflow", "flow_steps": 3})
    assert isinstance(ear, Ear)
    fit(ear, images)
    deployed = ear.deployed()
    assert not any("order" in name for name, _ in deployed.named_buffers() if "fusion" not in name)
    with torch.no_grad():
        for found, expected in zip(deployed(images), ear(images), strict=True):
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4)
