"""Each kind of centre against cases worked out by hand."""

import pytest
import torch

from edge_ad.models.discriminators.centred import CentreKind, find_centres, nearest_centre


def _find(projected: torch.Tensor, kind: CentreKind, clusters: int = 2, seed: int = 0) -> torch.Tensor:
    return find_centres(projected, kind, clusters, torch.Generator().manual_seed(seed))


def test_the_average_is_taken_at_each_position() -> None:
    projected = torch.tensor([[[1.0, 0.0], [0.0, 4.0]], [[3.0, 0.0], [0.0, 8.0]]])
    assert _find(projected, "average").tolist() == [[2, 0], [0, 6]]


def test_the_moving_average_takes_a_tenth_of_a_later_batch() -> None:
    projected = torch.ones(16, 1, 1)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    projected[order[8:]] = 3.0
    assert _find(projected, "iterative").item() == pytest.approx(0.9 * 1 + 0.1 * 3)


def test_alignment_moves_the_centre_that_a_position_resembles_wherever_it_is() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    projected = first.repeat(16, 1, 1)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    projected[order[8:]] = torch.tensor([[0.0, 2.0], [0.1, 4.0]])  # both positions now resemble the second centre
    expected = torch.tensor([[1.0, 0.0], [0.1 * 0.05, 0.9 + 0.1 * 3.0]])
    torch.testing.assert_close(_find(projected, "aligned"), expected)


def test_a_single_batch_leaves_the_start() -> None:
    projected = torch.randn(5, 3, 2)
    torch.testing.assert_close(_find(projected, "aligned"), projected.mean(0))
    torch.testing.assert_close(_find(projected, "iterative"), projected.mean(0))


def test_clustering_finds_two_heaps() -> None:
    heaps = torch.tensor([[0.0, 0.0], [0.0, 0.2], [9.0, 9.0], [9.2, 9.0]])[:, None]
    for seed in range(4):
        centres = sorted(_find(heaps, "clustering", seed=seed).tolist())
        if centres[0][0] < 1 < centres[1][0]:
            torch.testing.assert_close(torch.tensor(centres), torch.tensor([[0.0, 0.1], [9.1, 9.0]]))
            return
    pytest.fail("no start put one centre into each heap")


def test_more_clusters_than_patches_are_possible() -> None:
    centres = _find(torch.tensor([[[0.0]], [[5.0]]]), "clustering", clusters=5)
    assert set(centres.flatten().tolist()) == {0.0, 5.0}


def test_the_nearest_centre_is_that_of_brute_force() -> None:
    patches, centres = torch.randn(50, 4), torch.randn(9, 4)
    expected = centres[torch.cdist(patches, centres).argmin(1)]
    assert torch.equal(nearest_centre(patches, centres), expected)


def test_the_centre_passes_no_gradient() -> None:
    patches = torch.randn(5, 4, requires_grad=True)
    assert not nearest_centre(patches, torch.randn(3, 4)).requires_grad
