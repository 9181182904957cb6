"""The U-Net and the masks on its skips."""

import pytest
import torch
from torch import Tensor, nn

from edge_ad.models.unet import WIDTHS, UNet, Width, unet_multiple


@pytest.mark.parametrize("width", list(WIDTHS))
def test_the_reconstruction_has_the_size_of_the_image_and_lies_between_zero_and_one(width: Width) -> None:
    unet = UNet(width).eval()
    side = unet_multiple(width)
    with torch.no_grad():
        reconstruction = unet(torch.rand(2, 3, side, 2 * side))
    assert reconstruction.shape == (2, 3, side, 2 * side)
    assert reconstruction.min() > 0
    assert reconstruction.max() < 1


@pytest.mark.parametrize("width", ["pico", "lean"])
def test_encoder_features_halve_at_every_depth(width: Width) -> None:
    unet = UNet(width).eval()
    channels, stem = WIDTHS[width]
    features = unet.encode(torch.rand(1, 3, 64, 64))
    assert [f.shape[1] for f in features] == list(channels)
    assert [f.shape[2] for f in features] == [64 // (stem * 2 ** (d + 1)) for d in range(len(channels))]
    assert unet_multiple(width) == 64 // features[-1].shape[2]


def test_the_lean_encoder_is_five_blocks_of_three_convolutions() -> None:
    unet = UNet("lean")
    assert len(unet.encoder) == len(unet.decoder) == 5
    for block in (*unet.encoder, *unet.decoder):
        assert sum(isinstance(module, nn.Conv2d) for module in block.modules()) == 3
    strides = [[m.stride[0] for m in block.modules() if isinstance(m, nn.Conv2d)] for block in unet.encoder]
    assert strides == [[1, 1, 2]] * 5


def test_skip_masks_of_ones_change_nothing(images: Tensor) -> None:
    unet = UNet("pico").eval()
    with torch.no_grad():
        features = unet.encode(images)
        ones = [torch.ones(4, 1, *f.shape[2:]) for f in features[:-1]]
        assert torch.equal(unet.decode(features, ones), unet(images))


def test_skip_masks_of_zeros_leave_only_the_deepest_features(images: Tensor) -> None:
    unet = UNet("pico").eval()
    with torch.no_grad():
        features, others = ([torch.randn_like(f) for f in unet.encode(images)] for _ in range(2))
        zeros = [torch.zeros(4, 1, *f.shape[2:]) for f in features[:-1]]
        assert torch.equal(unet.decode(features, zeros), unet.decode([*others[:-1], features[-1]], zeros))
        assert not torch.equal(unet.decode(features, zeros), unet.decode([*features[:-1], others[-1]], zeros))


@pytest.mark.parametrize("depth", [0, 1])
def test_each_skip_has_its_own_mask(images: Tensor, depth: int) -> None:
    unet = UNet("pico").eval()
    with torch.no_grad():
        features = unet.encode(images)
        masks = [torch.ones(4, 1, *f.shape[2:]) for f in features[:-1]]
        masks[depth][..., :1] = 0
        changed = (unet.decode(features, masks) - unet(images)).abs()
    assert changed[..., :2].max() > 0
    if depth == 0:  # three decoder convolutions and the head, at a quarter of the size, see 4 positions to each side
        assert torch.equal(changed[..., 32:], torch.zeros_like(changed[..., 32:]))
