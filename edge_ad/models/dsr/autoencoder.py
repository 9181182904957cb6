"""The two-level quantised autoencoder of DSR: fine latents at stride 4, coarse ones at stride 8, one image decoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.dsr.quantisation import Codebook

__all__ = ["LEADING_TO_CODES", "AutoencoderSpec", "ImageDecoder", "Latents", "ResidualStack", "TwoLevelAutoencoder"]


LEADING_TO_CODES = (
    "fine_encoder",
    "coarse_encoder",
    "to_coarse",
    "to_fine",
    "upsample",
    "coarse_codes",
    "fine_codes",
)
"""Parts of a `TwoLevelAutoencoder` that decide which code a cell has."""


class AutoencoderSpec(NamedTuple):
    """Size of the autoencoder.

    Attributes:
        hidden: Channels of encoders and decoder.
        residual: Channels inside a residual block.
        blocks: Residual blocks of a stack.
        channels: Of a latent.
        codes: Of each codebook.
    """

    hidden: int
    residual: int
    blocks: int
    channels: int
    codes: int


class Latents(NamedTuple):
    """What an image is in the quantised space, or before it is quantised.

    Attributes:
        coarse: (N, C, H / 8, W / 8).
        fine: (N, C, H / 4, W / 4).
    """

    coarse: Tensor
    fine: Tensor


class ResidualStack(nn.Module):
    """Residual blocks, and a ReLU after the last one.

    A block adds to the *rectified* input: the authors' first ReLU works in place, before the sum.

    Args:
        channels: In and out.
        residual: Inside a block.
        blocks: How many.
    """

    def __init__(self, channels: int, residual: int, blocks: int) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Conv2d(channels, residual, 3, 1, 1, bias=False) for _ in range(blocks))
        self.outer = nn.ModuleList(nn.Conv2d(residual, channels, 1, bias=False) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → the same shape, not negative."""
        for inner, outer in zip(self.inner, self.outer, strict=True):
            x = F.relu(x)
            x = x + outer(F.relu(inner(x)))
        return F.relu(x)


def _stack(spec: AutoencoderSpec) -> ResidualStack:
    return ResidualStack(spec.hidden, spec.residual, spec.blocks)


def _fine_encoder(spec: AutoencoderSpec) -> nn.Sequential:
    half, hidden = spec.hidden // 2, spec.hidden
    first, second = nn.Conv2d(3, half, 4, 2, 1), nn.Conv2d(half, hidden, 4, 2, 1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(hidden, hidden, 3, 1, 1), _stack(spec))


def _coarse_encoder(spec: AutoencoderSpec) -> nn.Sequential:
    first, second = nn.Conv2d(spec.hidden, spec.hidden, 4, 2, 1), nn.Conv2d(spec.hidden, spec.hidden, 3, 1, 1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), _stack(spec))


class ImageDecoder(nn.Module):
    """Latents at stride 4 → image.

    Args:
        inputs: Channels of the latents.
        spec: Size.
    """

    def __init__(self, inputs: int, spec: AutoencoderSpec) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, spec.hidden, 3, 1, 1)
        self.stack = _stack(spec)
        self.second = nn.ConvTranspose2d(spec.hidden, spec.hidden // 2, 4, 2, 1)
        self.last = nn.ConvTranspose2d(spec.hidden // 2, 3, 4, 2, 1)

    def forward(self, latents: Tensor) -> Tensor:
        """(N, inputs, H / 4, W / 4) → (N, 3, H, W), unbounded."""
        image: Tensor = self.last(F.relu(self.second(self.stack(self.first(latents)))))
        return image


class TwoLevelAutoencoder(nn.Module):
    """Encoder, two codebooks and the general appearance decoder.

    Args:
        spec: Size.
    """

    def __init__(self, spec: AutoencoderSpec) -> None:
        super().__init__()
        self.fine_encoder, self.coarse_encoder = _fine_encoder(spec), _coarse_encoder(spec)
        self.to_coarse = nn.Conv2d(spec.hidden, spec.channels, 1)
        self.to_fine = nn.Conv2d(spec.hidden + spec.channels, spec.channels, 1)
        self.coarse_codes = Codebook(spec.codes, spec.channels)
        self.fine_codes = Codebook(spec.codes, spec.channels)
        self.upsample = nn.ConvTranspose2d(spec.channels, spec.channels, 4, 2, 1)
        self.decoder = ImageDecoder(2 * spec.channels, spec)

    def coarse_latent(self, features: Tensor) -> Tensor:
        """Features of ``fine_encoder`` (N, hidden, H / 4, W / 4) → coarse latents, not quantised."""
        latent: Tensor = self.to_coarse(self.coarse_encoder(features))
        return latent

    def fine_latent(self, features: Tensor, coarse: Tensor) -> Tensor:
        """Features and quantised coarse latents → fine latents, not quantised."""
        latent: Tensor = self.to_fine(torch.cat([features, self.upsample(coarse)], 1))
        return latent

    def encode(self, images: Tensor) -> tuple[Latents, Latents]:
        """Images (N, 3, H, W) in [0, 1] → latents before and after they are quantised."""
        features = self.fine_encoder(images)
        coarse = self.coarse_latent(features)
        quantised = self.coarse_codes(coarse)
        fine = self.fine_latent(features, quantised)
        return Latents(coarse, fine), Latents(quantised, self.fine_codes(fine))

    def join(self, latents: Latents) -> Tensor:
        """Both levels at stride 4, (N, 2·C, H / 4, W / 4): what image decoders read."""
        return torch.cat([self.upsample(latents.coarse), latents.fine], 1)

    def decode(self, latents: Latents) -> Tensor:
        """The general appearance of quantised latents, (N, 3, H, W), unbounded."""
        image: Tensor = self.decoder(self.join(latents))
        return image
