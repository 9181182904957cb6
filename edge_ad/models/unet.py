"""The reconstruction U-Net of EAR and FADeR, with an entry point for masks on the skips.

Encoder block: 3 × (convolution 3×3, batch norm, leaky ReLU), the third with stride 2. Decoder block: nearest ×2
upsampling, then 3 × (convolution, batch norm, leaky ReLU). Skips concatenate at every depth but the deepest (FADeR,
section 4.1). ``pico`` is ours: a space-to-depth stem, blocks of 4×4 pixels as channels, takes the place of the costly
levels at full and half resolution.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["WIDTHS", "UNet", "Width", "unet_multiple"]

Width = Literal["pico", "lean", "full"]


class _WidthSpec(NamedTuple):
    channels: tuple[int, ...]
    space_to_depth: int


WIDTHS: dict[Width, _WidthSpec] = {
    "pico": _WidthSpec((32, 64, 128), 4),
    "lean": _WidthSpec((16, 32, 64, 128, 128), 1),
    "full": _WidthSpec((64, 128, 256, 512, 512), 1),
}

_NEGATIVE_SLOPE = 0.2


def _unit(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.LeakyReLU(_NEGATIVE_SLOPE)]


def _encoder_block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_unit(inputs, outputs), *_unit(outputs, outputs), *_unit(outputs, outputs, stride=2))


def _decoder_block(inputs: int, outputs: int) -> nn.Sequential:
    upsample = nn.Upsample(scale_factor=2, mode="nearest")
    return nn.Sequential(upsample, *_unit(inputs, outputs), *_unit(outputs, outputs), *_unit(outputs, outputs))


def unet_multiple(width: Width) -> int:
    """Pixels that the image's sides must be multiples of."""
    channels, space_to_depth = WIDTHS[width]
    return space_to_depth * int(2 ** len(channels))


class UNet(nn.Module):
    """Images → reconstruction of the same size, in (0, 1).

    Args:
        width: Channels per depth, from ``WIDTHS``.
    """

    def __init__(self, width: Width = "lean") -> None:
        super().__init__()
        channels, self.space_to_depth = WIDTHS[width]
        image_channels = 3 * self.space_to_depth**2
        self.encoder = nn.ModuleList(
            _encoder_block(inputs, outputs)
            for inputs, outputs in zip((image_channels, *channels[:-1]), channels, strict=True)
        )
        outputs = (channels[0], *channels[:-1])
        skips = (*channels[:-1], 0)  # the deepest block has no skip beside it
        self.decoder = nn.ModuleList(
            _decoder_block(skip + deep, out) for skip, deep, out in zip(skips, channels, outputs, strict=True)
        )
        self.head = nn.Conv2d(channels[0], image_channels, 3, padding=1)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Encoder features of each depth, finest first: (N, C_d, H / 2^d, W / 2^d)."""
        x = F.pixel_unshuffle(images, self.space_to_depth) if self.space_to_depth > 1 else images
        features = []
        for block in self.encoder:
            x = block(x)
            features.append(x)
        return features

    def decode(self, features: list[Tensor], skip_masks: list[Tensor] | None = None) -> Tensor:
        """Reconstruction from encoder features.

        Args:
            features: As ``encode`` returns them.
            skip_masks: Per skip, finest first, (N, 1, h, w) in [0, 1] to multiply it by (FADeR eq. 4); None for none.

        Returns:
            (N, 3, H, W) in (0, 1).
        """
        x = self.decoder[-1](features[-1])
        for depth in range(len(features) - 2, -1, -1):
            skip = features[depth] if skip_masks is None else features[depth] * skip_masks[depth]
            x = self.decoder[depth](torch.cat([x, skip], dim=1))
        x = torch.sigmoid(self.head(x))
        return F.pixel_shuffle(x, self.space_to_depth) if self.space_to_depth > 1 else x

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct without masks on the skips."""
        return self.decode(self.encode(images))
