"""Matching of feature statistics: against hand-computed values and against sorting."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_ad.errors import DataError, UsageError
from edge_ad.models.feature_matching import (
    CountMatching,
    ExactMatching,
    MatchingKind,
    MomentMatching,
    create_matching,
)


def _pictures(count: int = 4, *, seed: int = 0) -> Tensor:
    """(N, 3, 64, 64), each channel of another shape: normal, skewed, and two humps."""
    values = torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    values[:, 1] = values[:, 1].exp()
    values[:, 2] += 3 * values[:, 2].sign()
    return values


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def test_moments_move_mean_and_deviation_half_of_the_way() -> None:
    matching = MomentMatching(1)
    matching.fit([torch.tensor([[[[4.0, 8.0]]], [[[6.0, 10.0]]]])])  # means 6 and 8, deviations 2
    matched = matching(torch.tensor([[[[-1.0, 1.0]]]]))
    assert matched.flatten().tolist() == pytest.approx([(-1 + 5) / 2, (1 + 9) / 2], abs=1e-4)


def test_exact_matching_gives_the_value_of_the_same_rank_and_ties_keep_their_order() -> None:
    matching = ExactMatching(1, 4, share=1.0)
    matching.fit([torch.tensor([[[[40.0, 10.0], [30.0, 20.0]]]])])
    matched = matching(torch.tensor([[[[5.0, 1.0], [1.0, 9.0]]]]))
    assert matched.flatten().tolist() == [30.0, 10.0, 20.0, 40.0]


@pytest.mark.parametrize("kind", ["moments", "counts", "exact"])
def test_a_picture_matched_to_itself_stays_as_it_is(kind: MatchingKind) -> None:
    picture = _pictures(1)
    matching = create_matching(kind, 3, 4096, share=1.0)
    matching.fit([picture])
    assert _rms(matching(picture) - picture) < 0.01


@pytest.mark.parametrize("kind", ["moments", "counts", "exact"])
def test_another_gain_and_offset_is_undone(kind: MatchingKind) -> None:
    picture = _pictures(1)
    matching = create_matching(kind, 3, 4096, share=1.0)
    matching.fit([picture])
    assert _rms(matching(0.2 * picture - 5) - picture) < 0.01


def test_counts_come_close_to_exact_matching_where_moments_do_not() -> None:
    fitted, other = _pictures(8)[:, :1], _pictures(2, seed=1)[:, :1]
    other = other.sign() * other.abs().sqrt()  # two humps where the reference has one
    kinds: tuple[MatchingKind, ...] = ("exact", "counts", "moments")
    matched = {}
    for kind in kinds:
        matching = create_matching(kind, 1, 4096, share=1.0)
        matching.fit([fitted[:5], fitted[5:]])
        matched[kind] = matching(other)
    error = {kind: _rms(matched[kind] - matched["exact"]) for kind in kinds}
    assert error["counts"] < 0.2 * _rms(matched["exact"] - other)
    assert error["moments"] > 5 * error["counts"]


def test_a_channel_without_any_contrast_gives_finite_features() -> None:
    matching = CountMatching(3)
    matching.fit([torch.ones(2, 3, 4, 4)])
    assert bool(matching(torch.zeros(1, 3, 4, 4)).isfinite().all())


def test_no_picture_and_no_share_are_refused() -> None:
    with pytest.raises(DataError, match="no picture"):
        MomentMatching(1).fit([])
    with pytest.raises(UsageError, match="share"):
        create_matching("moments", 1, 1, share=0.0)


def test_rounding_moves_nothing_of_a_plain_ground_in_counts() -> None:
    """Nearly all values are equal, as of photos of one colour, and lie on an edge: a backend rounds them otherwise."""
    ground = torch.full((1, 1, 32, 32), 2.0)
    ground[..., :2] = 5.0
    matching = CountMatching(1, share=1.0)
    matching.fit([ground])
    rounding = 1e-6 * torch.randn(ground.shape, generator=torch.Generator().manual_seed(0))
    assert (matching(ground + rounding) - matching(ground)).abs().max() < 1e-4
