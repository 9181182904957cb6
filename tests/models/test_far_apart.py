"""Partners of boundary shuffling: spatially distant, as its paper wants them."""

from __future__ import annotations

import pytest
import torch

from edge_ad.errors import UsageError
from edge_ad.models.discriminators.synthesis import draw_similar, far_apart
from edge_ad.models.registry import create_detector, restore_detector


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("grid_hw", [(8, 8), (4, 12), (7, 5)])
def test_every_partner_is_as_far_away_as_was_asked(share: float, grid_hw: tuple[int, int]) -> None:
    height, width = grid_hw
    positions = torch.stack([torch.randperm(height * width) for _ in range(2)])
    patches = torch.randn(2, height * width, 6)
    partners = draw_similar(patches, 8, torch.Generator().manual_seed(0), far_apart(positions, grid_hw, share))
    places = torch.stack([positions // width, positions % width], -1).float()
    other = places.gather(1, partners[..., None].expand(-1, -1, 2))
    # From the middle of a side, half of the longer side may be more than there is: then the farthest counts.
    farthest = torch.cdist(places, places).amax(2)
    least = farthest.clamp(max=share * max(grid_hw))
    assert ((places - other).norm(dim=-1) >= least - 1e-5).all()


def test_of_those_far_enough_the_most_similar_is_taken() -> None:
    patches = torch.eye(4)[None].repeat(1, 1, 1)
    patches[0, 3] = patches[0, 0] + 0.1 * patches[0, 1]  # like the first, and three steps away
    partners = draw_similar(patches, 4, torch.Generator().manual_seed(0), far_apart(torch.arange(4)[None], (1, 4), 0.5))
    assert partners[0, 0] == 3


def test_the_distance_is_a_parameter_within_half_a_side() -> None:
    assert create_detector("boundary-shuffling", {"size": 64}).config.partner_distance == 0.25
    with pytest.raises(UsageError, match="partner_distance"):
        create_detector("boundary-shuffling", {"size": 64, "partner_distance": 0.6})


def test_a_run_of_before_there_was_a_distance_took_any_partner() -> None:
    detector = create_detector("boundary-shuffling", {"size": 64})
    restored = restore_detector("boundary-shuffling", {"size": 64}, detector.state_dict())
    assert restored.config.partner_distance == 0
    recorded = restore_detector("boundary-shuffling", {"size": 64, "partner_distance": 0.25}, detector.state_dict())
    assert recorded.config.partner_distance == 0.25
