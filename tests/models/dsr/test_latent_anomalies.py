"""Latent anomalies: where codes are replaced, by which ranks, and on which levels."""

import pytest
import torch
from torch import Tensor

from edge_ad.models.dsr.autoencoder import AutoencoderSpec, TwoLevelAutoencoder
from edge_ad.models.dsr.latent_anomalies import anomalous_latents, cells, draw_strengths, replace_codes
from edge_ad.models.dsr.quantisation import Codebook


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _ranked_book(codes: int) -> Codebook:
    """Codes at 0, 1, 2, … on a line: the rank of a code for a cell at 0 is its value."""
    book = Codebook(codes, 1)
    book.get_buffer("codes").copy_(torch.arange(float(codes))[:, None])
    return book


def test_a_cell_is_touched_when_one_of_its_pixels_is() -> None:
    masks = torch.zeros(1, 1, 8, 16)
    masks[0, 0, 3, 4] = 1
    touched = cells(masks, (2, 4))
    assert touched.tolist() == [[[[0, 1, 0, 0], [0, 0, 0, 0]]]]


def test_ranks_go_from_five_percent_of_the_codes_to_the_strengths_share() -> None:
    book, latents = _ranked_book(100), torch.zeros(2, 1, 40, 40)
    strengths = torch.tensor([0.2, 0.6])
    replaced = replace_codes(latents, book(latents), book, torch.ones(2, 1, 40, 40), strengths, _generator())
    for image, last in zip(replaced, (20, 60), strict=True):
        ranks = image.unique()
        assert ranks.min() == 5
        assert ranks.max() == last
        assert len(ranks) == last - 5 + 1  # each of them occurs


def test_a_strength_of_all_never_takes_the_farthest_code() -> None:
    book, latents = _ranked_book(40), torch.zeros(1, 1, 60, 60)
    replaced = replace_codes(latents, latents, book, torch.ones(1, 1, 60, 60), torch.ones(1), _generator())
    assert replaced.max() == 38


def test_what_is_not_masked_stays_and_nothing_but_codes_comes_in() -> None:
    book, latents = Codebook(50, 4), torch.randn(2, 4, 6, 6)
    mask = torch.zeros(2, 1, 6, 6)
    mask[1, :, 2:4, 1:5] = 1
    quantised = book(latents)
    replaced = replace_codes(latents, quantised, book, mask, torch.full((2,), 0.5), _generator())
    outside = (mask == 0).expand_as(replaced)
    assert torch.equal(replaced[outside], quantised[outside])
    rows = replaced.permute(0, 2, 3, 1)[mask[:, 0] > 0]
    assert torch.cdist(rows, book.get_buffer("codes")).amin(1).max() < 1e-5
    assert (rows != quantised.permute(0, 2, 3, 1)[mask[:, 0] > 0]).any(1).all()


def test_strengths_lie_between_the_least_one_and_one() -> None:
    strengths = draw_strengths(4000, 0.2, _generator())
    assert 0.2 <= strengths.min() < 0.22
    assert 0.98 < strengths.max() < 1


def _autoencoder() -> TwoLevelAutoencoder:
    torch.manual_seed(0)
    return TwoLevelAutoencoder(AutoencoderSpec(hidden=8, residual=4, blocks=1, channels=4, codes=64)).eval()


def _changed(bad: Tensor, good: Tensor) -> Tensor:
    """Which images of a level changed anywhere, bool (N,)."""
    return (bad != good).flatten(1).any(1)


def test_half_of_the_anomalies_are_on_both_levels_and_a_quarter_on_each_alone() -> None:
    autoencoder, images = _autoencoder(), torch.rand(400, 3, 16, 16)
    masks = torch.zeros(400, 1, 16, 16)
    masks[:, :, 5, 5] = 1
    good, bad, where = anomalous_latents(autoencoder, images, masks, 0.2, _generator())
    coarse, fine = (_changed(*pair) for pair in zip(bad, good, strict=True))
    assert (coarse | fine).all()
    alone = coarse & ~fine
    # A coarse change reaches the fine level in those images alone in which that one changes too.
    assert alone.float().mean().item() == pytest.approx(0.25, abs=0.07)
    assert (fine & ~coarse).float().mean().item() == pytest.approx(0.25, abs=0.07)
    assert (where[~coarse].sum((1, 2, 3)) == 16).all()  # a fine cell is 4×4 pixels
    assert (where[coarse].sum((1, 2, 3)) == 64).all()  # a coarse one 8×8


def test_images_without_a_mask_stay_good() -> None:
    autoencoder, images = _autoencoder(), torch.rand(3, 3, 16, 16)
    good, bad, where = anomalous_latents(autoencoder, images, torch.zeros(3, 1, 16, 16), 0.2, _generator())
    assert torch.equal(bad.coarse, good.coarse)
    assert torch.equal(bad.fine, good.fine)
    assert not where.any()


def test_the_same_generator_draws_the_same_anomalies() -> None:
    autoencoder, images = _autoencoder(), torch.rand(4, 3, 16, 16)
    masks = (torch.rand(4, 1, 16, 16) > 0.9).float()
    first, second, other = (anomalous_latents(autoencoder, images, masks, 0.2, _generator(x))[1] for x in (1, 1, 2))
    assert torch.equal(first.fine, second.fine)
    assert not torch.equal(first.fine, other.fine)
