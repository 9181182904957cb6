"""The two sub-networks of DRAEM: one restores without skips, one compares image and restoration.

Both work on *blocks*: an image whose s×s pixels lie in its channels (space to depth). With s = 1, as published, that is
the image itself; with s = 4 the costly full resolution falls away, and each pixel still has a value of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["WIDTHS", "Discriminative", "Reconstructive", "Width", "WidthSpec", "fold", "unfold"]

Width = Literal["lean", "full"]


class WidthSpec(NamedTuple):
    """Size of both networks.

    Attributes:
        block: Side s of the pixel blocks that lie in the channels.
        reconstructive: Channels per depth of the encoder; a depth of the decoder gives those of the next finer one.
        discriminative: Likewise.
        published: Whether a depth begins with a maximum over 2×2, the way up is bilinear, and each depth of a decoder
            has three convolutions. Else its first convolution has stride 2, the way up repeats pixels, each depth of a
            decoder has one convolution, and the first of a network is 1×1: a block already is a neighbourhood.
    """

    block: int
    reconstructive: tuple[int, ...]
    discriminative: tuple[int, ...]
    published: bool


WIDTHS: dict[Width, WidthSpec] = {
    "lean": WidthSpec(4, (32, 64, 128), (32, 64, 64, 64), published=False),
    "full": WidthSpec(1, (128, 256, 512, 1024, 1024), (64, 128, 256, 512, 512, 512), published=True),
}

_INITIAL_SPREAD = 0.02


def fold(images: Tensor, block: int) -> Tensor:
    """(N, C, H, W) → blocks (N, C·s², H / s, W / s)."""
    return F.pixel_unshuffle(images, block) if block > 1 else images


def unfold(blocks: Tensor, block: int) -> Tensor:
    """Blocks (N, C·s², H / s, W / s) → (N, C, H, W)."""
    return F.pixel_shuffle(blocks, block) if block > 1 else blocks


class Reconstructive(nn.Module):
    """Encoder and decoder without skips: what is foreign cannot pass the narrow middle.

    Args:
        spec: Size.
    """

    def __init__(self, spec: WidthSpec) -> None:
        super().__init__()
        channels, values = spec.reconstructive, 3 * spec.block**2
        self.encoder = _encoder(values, channels, spec)
        self.decoder = nn.ModuleList(self._depth(inputs, outputs, spec) for inputs, _, outputs in _way_up(channels))
        self.head = nn.Conv2d(channels[0], values, 3, padding=1)
        self.apply(_initialise)

    @staticmethod
    def _depth(inputs: int, outputs: int, spec: WidthSpec) -> nn.Sequential:
        more = [*_unit(inputs, inputs), *_unit(inputs, inputs)] if spec.published else []
        return nn.Sequential(_upsample(spec), *more, *_unit(inputs, outputs))

    def forward(self, blocks: Tensor) -> Tensor:
        """Blocks of images in [0, 1] → blocks of their reconstructions, unbounded; same shape."""
        for depth in (*self.encoder, *self.decoder):
            blocks = depth(blocks)
        reconstruction: Tensor = self.head(blocks)
        return reconstruction


class Discriminative(nn.Module):
    """U-Net on reconstruction and image side by side: two classes per pixel, normal and anomalous.

    Args:
        spec: Size.
    """

    def __init__(self, spec: WidthSpec) -> None:
        super().__init__()
        channels = spec.discriminative
        self.encoder = _encoder(6 * spec.block**2, channels, spec)
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for inputs, skip, outputs in _way_up(channels):
            above = outputs if spec.published else inputs
            self.up.append(nn.Sequential(_upsample(spec), *(_unit(inputs, outputs) if spec.published else ())))
            more = _unit(outputs, outputs) if spec.published else ()
            self.decoder.append(nn.Sequential(*_unit(above + skip, outputs), *more))
        self.head = nn.Conv2d(channels[0], 2 * spec.block**2, 3, padding=1)
        self.apply(_initialise)

    def forward(self, reconstruction: Tensor, blocks: Tensor) -> Tensor:
        """Blocks of reconstructions and images → blocks of logits (N, 2·s², H / s, W / s), the normal class first."""
        x, skips = torch.cat([reconstruction, blocks], 1), []
        for depth in self.encoder:
            x = depth(x)
            skips.append(x)
        for up, decoder, skip in zip(self.up, self.decoder, skips[-2::-1], strict=True):
            x = decoder(torch.cat([up(x), skip], 1))
        logits: Tensor = self.head(x)
        return logits


def _way_up(channels: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Channels into, beside and out of each depth of a decoder, the deepest first."""
    inputs = channels[-1]
    for depth in range(len(channels) - 2, -1, -1):
        outputs = channels[max(depth - 1, 0)]
        yield inputs, channels[depth], outputs
        inputs = outputs


def _unit(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


def _encoder(inputs: int, channels: tuple[int, ...], spec: WidthSpec) -> nn.ModuleList:
    stem = _unit(inputs, channels[0], kernel=3 if spec.published else 1)
    depths = nn.ModuleList([nn.Sequential(*stem, *_unit(channels[0], channels[0]))])
    for fine, deep in pairwise(channels):
        first = [nn.MaxPool2d(2), *_unit(fine, deep)] if spec.published else _unit(fine, deep, stride=2)
        depths.append(nn.Sequential(*first, *_unit(deep, deep)))
    return depths


def _upsample(spec: WidthSpec) -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="bilinear" if spec.published else "nearest")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, _INITIAL_SPREAD)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, _INITIAL_SPREAD)
