"""The mosaic hint and the obfuscated input."""

import pytest
import torch
from torch import Tensor

from edge_ad.models.ear import mosaic, obfuscate


def test_tiles_hold_their_mean() -> None:
    image = torch.tensor([[0.0, 1.0, 0.2, 0.4], [0.5, 0.5, 0.6, 0.8]])[None, None]
    expected = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]])[None, None]
    torch.testing.assert_close(mosaic(image, 2), expected)
    torch.testing.assert_close(mosaic(image[..., :2, 1:3], 2), torch.full((1, 1, 2, 2), (1 + 0.2 + 0.5 + 0.6) / 4))


@pytest.mark.parametrize("scale", [4, 8, 16, 32])
def test_every_tile_is_constant_and_keeps_the_mean(images: Tensor, scale: int) -> None:
    tiles = mosaic(images, scale).unfold(2, scale, scale).unfold(3, scale, scale).flatten(4)
    assert torch.equal(tiles.amax(4), tiles.amin(4))
    means = images.unfold(2, scale, scale).unfold(3, scale, scale).flatten(4).mean(4)
    torch.testing.assert_close(tiles[..., 0], means)


def test_no_mask_leaves_the_image_bit_for_bit(images: Tensor) -> None:
    assert torch.equal(obfuscate(images, torch.zeros(4, 1, 64, 64), 8), images)


def test_a_full_mask_gives_the_mosaic(images: Tensor) -> None:
    torch.testing.assert_close(obfuscate(images, torch.ones(4, 1, 64, 64), 8), mosaic(images, 8))


def test_a_partial_mask_hides_only_what_it_covers(images: Tensor) -> None:
    mask = torch.zeros(4, 1, 64, 64)
    mask[..., :32] = 1
    hidden = obfuscate(images, mask, 8)
    torch.testing.assert_close(hidden[..., :32], mosaic(images, 8)[..., :32])
    assert torch.equal(hidden[..., 32:], images[..., 32:])


def test_half_a_mask_blends(images: Tensor) -> None:
    blend = obfuscate(images, torch.full((4, 1, 64, 64), 0.25), 16)
    torch.testing.assert_close(blend, 0.75 * images + 0.25 * mosaic(images, 16))
