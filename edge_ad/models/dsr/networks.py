"""The networks of DSR on the quantised space and on the two images that it gives.

``published`` is the authors' size, with instance norms that have no weights: statistics of the image itself, also when
deployed. ``edge`` is ours: batch norms, which fold into the convolutions and let training cut windows out of images,
strides for maxima, repetition for bilinear upsampling, one convolution per depth of a decoder; its networks on images
work on 4×4 blocks of pixels that lie in the channels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from edge_ad.models.draem.networks import fold, unfold
from edge_ad.models.dsr.autoencoder import AutoencoderSpec, ImageDecoder

__all__ = ["FORMS", "Form", "FormSpec", "ObjectDecoder", "SegmentationUNet", "SubspaceRestriction"]

Form = Literal["edge", "published"]


class FormSpec(NamedTuple):
    """Size of all networks.

    Attributes:
        autoencoder: The two-level autoencoder.
        restriction: Channels per depth of a subspace restriction network.
        object_encoder: Channels per depth of the object-specific decoder's own encoder, each as those of its two
            convolutions.
        object_middle: Channels of its narrow middle, at stride 16.
        segmentation: Channels per depth of the two networks on images.
        block: Side of the pixel blocks that they see.
        published: Whether layers are the authors'.
    """

    autoencoder: AutoencoderSpec
    restriction: tuple[int, ...]
    object_encoder: tuple[tuple[int, int], tuple[int, int]]
    object_middle: int
    segmentation: tuple[int, ...]
    block: int
    published: bool


FORMS: dict[Form, FormSpec] = {
    "edge": FormSpec(
        AutoencoderSpec(hidden=32, residual=16, blocks=2, channels=32, codes=512),
        restriction=(32, 48, 64),
        object_encoder=((32, 48), (48, 64)),
        object_middle=32,
        segmentation=(32, 48, 64, 64),
        block=4,
        published=False,
    ),
    "published": FormSpec(
        AutoencoderSpec(hidden=128, residual=64, blocks=2, channels=128, codes=4096),
        restriction=(128, 256, 512),
        object_encoder=((256, 512), (512, 1024)),
        object_middle=64,
        segmentation=(64, 128, 256, 256),
        block=1,
        published=True,
    ),
}

_INITIAL_SPREAD = 0.02


class SubspaceRestriction(nn.Module):
    """Encoder and decoder without skips: latents of one level → those that normal parts have.

    Args:
        spec: Size.
    """

    def __init__(self, spec: FormSpec) -> None:
        super().__init__()
        widths, channels, published = spec.restriction, spec.autoencoder.channels, spec.published
        self.encoder = _encoder(channels, widths, published)
        self.decoder = nn.Sequential(
            *(_depth_up(deep, fine, published) for fine, deep in reversed([*pairwise(widths)]))
        )
        self.head = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """(N, C, h, w), h and w multiples of 4 → latents of the same shape, not quantised."""
        x = latents
        for depth in self.encoder:
            x = depth(x)
        restored: Tensor = self.head(self.decoder(x))
        return restored


class ObjectDecoder(nn.Module):
    """Latents of both levels → the image of a good part, through a narrow middle at stride 16.

    Args:
        spec: Size.
    """

    def __init__(self, spec: FormSpec) -> None:
        super().__init__()
        inputs, middle, published = 2 * spec.autoencoder.channels, spec.object_middle, spec.published
        layers: list[nn.Module] = []
        for first, second in spec.object_encoder:
            layers += _unit(inputs, first, published) + _unit(first, second, published, stride=1 if published else 2)
            layers += [nn.MaxPool2d(2)] if published else []
            inputs = second
        self.encoder = nn.Sequential(*layers, nn.Conv2d(inputs, middle, 1))
        up = [layer for _ in range(2) for layer in (nn.ConvTranspose2d(middle, middle, 4, 2, 1), nn.ReLU())]
        self.up = nn.Sequential(*up)
        self.image = ImageDecoder(middle, spec.autoencoder)
        if published:
            self.apply(_draw_weights)

    def forward(self, latents: Tensor) -> Tensor:
        """(N, 2·C, H / 4, W / 4) → (N, 3, H, W), unbounded."""
        image: Tensor = self.image(self.up(self.encoder(latents)))
        return image


class SegmentationUNet(nn.Module):
    """Images side by side → two classes per pixel, normal and anomalous.

    Args:
        inputs: Channels of all images together.
        spec: Size.
    """

    def __init__(self, inputs: int, spec: FormSpec) -> None:
        super().__init__()
        widths, published, self.block = spec.segmentation, spec.published, spec.block
        # A block of pixels already is a neighbourhood.
        self.encoder = _encoder(inputs * self.block**2, widths, published, kernel=3 if self.block == 1 else 1)
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        deep = widths[-1]
        for skip in widths[-2::-1]:
            self.up.append(nn.Sequential(_upsample(published), *(_unit(deep, skip, True) if published else ())))
            inside = (2 if published else 1) * skip + (0 if published else deep)
            more = _unit(skip, skip, True) if published else []
            self.decoder.append(nn.Sequential(*_unit(inside, skip, published), *more))
            deep = skip
        self.head = nn.Conv2d(widths[0], 2 * self.block**2, 3, padding=1)
        if published:
            self.apply(_draw_weights)

    def forward(self, *images: Tensor) -> Tensor:
        """(N, c, H, W) each → logits (N, 2, H, W), the normal class first."""
        x, skips = fold(torch.cat(images, 1), self.block), []
        for depth in self.encoder:
            x = depth(x)
            skips.append(x)
        for up, decoder, skip in zip(self.up, self.decoder, skips[-2::-1], strict=True):
            x = decoder(torch.cat([up(x), skip], 1))
        return unfold(self.head(x), self.block)


def _encoder(inputs: int, widths: tuple[int, ...], published: bool, *, kernel: int = 3) -> nn.ModuleList:
    """One module per depth, each half as large as the one before; the kernel is that of the first convolution."""
    depths = nn.ModuleList(
        [nn.Sequential(*_unit(inputs, widths[0], published), *_unit(widths[0], widths[0], published))]
    )
    for fine, deep in pairwise(widths):
        pool: list[nn.Module] = [nn.MaxPool2d(2)] if published else []
        first = _unit(fine, deep, published, stride=1 if published else 2)
        depths.append(nn.Sequential(*pool, *first, *_unit(deep, deep, published)))
    return depths


def _depth_up(deep: int, fine: int, published: bool) -> nn.Sequential:
    """A depth of a decoder without skips."""
    more = [*_unit(fine, fine, True), *_unit(fine, fine, True)] if published else []
    return nn.Sequential(_upsample(published), *_unit(deep, fine, published), *more)


def _unit(inputs: int, outputs: int, published: bool, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """Convolution without a bias, which either norm would take away, norm and ReLU."""
    norm: nn.Module = _InstanceNorm() if published else nn.BatchNorm2d(outputs)
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), norm, nn.ReLU()]


class _InstanceNorm(nn.Module):
    """Each channel of each image to mean 0 and variance 1, without weights; by plain means, which every backend has."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        centred = x - x.mean((2, 3), keepdim=True)
        return centred * (centred.square().mean((2, 3), keepdim=True) + 1e-5).rsqrt()


def _upsample(published: bool) -> nn.Module:
    return nn.UpsamplingBilinear2d(scale_factor=2) if published else nn.Upsample(scale_factor=2, mode="nearest")


def _draw_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, _INITIAL_SPREAD)
