"""Codes: the nearest one, the gradient that passes them, and how they move."""

import pytest
import torch
from torch import Tensor

from edge_ad.models.dsr.quantisation import Codebook, with_fixed_codes


def _book(codes: list[list[float]], *, decay: float = 0.9) -> Codebook:
    book = Codebook(len(codes), len(codes[0]), decay=decay)
    book.get_buffer("codes").copy_(torch.tensor(codes))
    return book


def _cells(*rows: tuple[float, ...]) -> Tensor:
    """One row of cells, (1, C, 1, w)."""
    return torch.tensor(rows).T[None, :, None]


def test_each_cell_becomes_its_nearest_code() -> None:
    book = _book([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    latents = _cells((1.0, 0.5), (3.0, 1.0), (1.0, 3.0))
    expected = _cells((0.0, 0.0), (4.0, 0.0), (0.0, 4.0))
    assert book.nearest(latents).tolist() == [[[0, 1, 2]]]
    torch.testing.assert_close(book(latents), expected)
    torch.testing.assert_close(book(latents.requires_grad_()).detach(), expected)


def test_what_rounding_cannot_tell_apart_is_no_choice_between_codes() -> None:
    """A hair to either side of the middle gives nearly the same; a little more gives one code or the other."""
    book = _book([[0.0, 0.0], [4.0, 0.0], [0.0, 40.0]])
    found = book(_cells((2.0, 0.0), (2.0 - 1e-6, 0.0), (2.0 + 1e-6, 0.0), (1.5, 0.0), (2.5, 0.0)))[0, 0, 0]
    torch.testing.assert_close(found, torch.tensor([2.0, 2.0, 2.0, 0.0, 4.0]), rtol=0, atol=1e-3)


def test_distances_are_the_euclidean_ones_less_what_is_the_same_for_every_code() -> None:
    book, latents = Codebook(7, 5), torch.randn(2, 5, 3, 4)
    rows, codes = latents.permute(0, 2, 3, 1).reshape(-1, 5), book.get_buffer("codes")
    expected = torch.cdist(rows, codes).square() - (rows - codes.mean(0)).square().sum(1, keepdim=True)
    found = book.distances(latents).permute(0, 2, 3, 1).reshape(-1, 7)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_passes_the_codes_unchanged() -> None:
    book, latents = Codebook(6, 3), torch.randn(2, 3, 4, 4, requires_grad=True)
    weight = torch.randn(2, 3, 4, 4)
    (book(latents) * weight).sum().backward()
    assert latents.grad is not None
    torch.testing.assert_close(latents.grad, weight)


def test_a_code_moves_to_the_moving_average_of_what_it_stands_for() -> None:
    book = _book([[0.0], [10.0]])
    book.get_buffer("uses").copy_(torch.tensor([2.0, 4.0]))
    book.get_buffer("sums").copy_(torch.tensor([[0.0], [40.0]]))
    book.update(_cells((1.0,), (3.0,), (12.0,)), torch.Generator())
    # uses: 0.9·2 + 0.1·2 = 2.0 and 0.9·4 + 0.1·1 = 3.7; sums: 0.1·(1 + 3) and 0.9·40 + 0.1·12
    torch.testing.assert_close(book.get_buffer("codes"), torch.tensor([[0.4 / 2.0], [37.2 / 3.7]]), rtol=1e-4, atol=0)


def test_codes_start_as_latents_and_unused_ones_start_again() -> None:
    book, latents = Codebook(8, 2), torch.randn(1, 2, 6, 6) + 50
    generator = torch.Generator().manual_seed(0)
    book.update(latents, generator)
    assert (book.get_buffer("codes") - 50).abs().max() < 5
    book.get_buffer("codes")[3] = -1000.0
    for _ in range(600):
        book.update(latents, generator)
    assert (book.get_buffer("codes") - 50).abs().max() < 5


def test_a_network_with_fixed_codes_gives_the_nearest_ones_and_leaves_the_trained_ones_alone() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), Codebook(32, 4)).eval()
    fixed, images = with_fixed_codes(network), torch.randn(2, 3, 5, 5)
    book = network[1]
    assert isinstance(book, Codebook)
    with torch.no_grad():
        latents = network[0](images)
        apart = book.distances(latents).topk(2, dim=1, largest=False).values.diff(dim=1).expand_as(latents) > 0.05
        torch.testing.assert_close(fixed(images)[apart], book.entries(book.nearest(latents))[apart])
    assert apart.float().mean() > 0.5
    assert not [name for name, _ in fixed.named_buffers() if "uses" in name]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_reduced_precision_around_it_does_not_reach_the_distances(dtype: torch.dtype) -> None:
    book, latents = Codebook(64, 8), torch.randn(1, 8, 8, 8)
    with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
        torch.testing.assert_close(book.distances(latents), book.distances(latents.double().float()))
        assert book.distances(latents).dtype is torch.float32
        inside = book.nearest(latents)
    assert torch.equal(inside, book.nearest(latents))
