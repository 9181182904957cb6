"""ResNet-18, -50, -101 and WideResNet-50 as frozen feature pyramids, their batch norms folded into the convolutions.

Architecture: He et al., "Deep Residual Learning for Image Recognition" (2016), with the stride of a bottleneck in its
3×3 convolution, as torchvision has it. The ImageNet weights are torchvision's ``IMAGENET1K_V1``, which SimpleNet, PBAS,
PatchCore and reverse distillation take; they are fetched from where it keeps them, and the package is not needed.
"""

from __future__ import annotations

import http.client
import pickle
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import CheckpointError
from edge_ad.models.backbones.base import Backbone, load_folded

__all__ = ["ResNet18", "ResNet50", "ResNet101", "WideResNet50"]

_WIDTHS = {4: 64, 8: 128, 16: 256, 32: 512}  # by stride
_EXPANSION = 4  # of a bottleneck's channels in what it returns
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_BATCH_NORM_EPSILON = 1e-5
_WEIGHTS_URL = "https://download.pytorch.org/models/"


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)  # with the bias of the folded batch norm


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride))


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(inputs, width, 3, stride), _conv(width, outputs, 3)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        return F.relu(self.conv2(F.relu(self.conv1(x))) + beside)


class _Bottleneck(nn.Module):
    """A 3×3 convolution between two of 1×1, beside a shortcut."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(inputs, width, 1), _conv(width, width, 3, stride)
        self.conv3 = _conv(width, outputs, 1)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        return F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))) + beside)


class _ResNet(Backbone):
    repeats: ClassVar[tuple[int, int, int, int]]
    """Blocks of each stage."""
    is_deep: ClassVar[bool] = True
    """Whether the blocks are bottlenecks."""
    widening: ClassVar[int] = 1
    """Factor on the inner width of a bottleneck."""
    weights_file: ClassVar[str]
    int8_float_start: ClassVar[tuple[str, ...]] = ("conv1",)
    bf16_float_start: ClassVar[tuple[str, ...]] = ("conv1",)

    def __init__(self, levels: tuple[int, ...] = (8, 16)) -> None:
        super().__init__(levels)
        self.conv1 = nn.Conv2d(3, _WIDTHS[4], 7, 2, 3)
        self.strides = [stride for stride in _WIDTHS if stride <= levels[-1]]
        channels = _WIDTHS[4]
        for number, (stride, count) in enumerate(zip(self.strides, self.repeats, strict=False), 1):
            self.add_module(f"layer{number}", self._stage(channels, stride, count))
            channels = self.channels_of(stride)
        self.register_buffer("mean", torch.tensor(_MEAN)[None, :, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[None, :, None, None], persistent=False)
        self.requires_grad_(False)

    def _stage(self, inputs: int, stride: int, count: int) -> nn.Sequential:
        block = _Bottleneck if self.is_deep else _BasicBlock
        width, outputs = _WIDTHS[stride] * self.widening, self.channels_of(stride)
        first = block(inputs, width, outputs, 1 if stride == self.strides[0] else 2)
        return nn.Sequential(first, *(block(outputs, width, outputs, 1) for _ in range(count - 1)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of each level, finest first."""
        x = F.relu(self.conv1((images - self.get_buffer("mean")) / self.get_buffer("std")))
        x = F.max_pool2d(x, 3, 2, 1)
        features = {}
        for number, level in enumerate(self.strides, 1):
            features[level] = x = self.matched(level, self.get_submodule(f"layer{number}")(x))
        return [features[level] for level in self.levels]

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Load a state dict in torchvision's names; see `Backbone.load_published`."""
        for name, conv in self._convolutions():
            load_folded(conv, weights, name, _norm_of(name), epsilon=_BATCH_NORM_EPSILON)

    def _convolutions(self) -> Iterator[tuple[str, nn.Conv2d]]:
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                yield name, module

    @classmethod
    def imagenet_weights(cls) -> dict[str, Tensor]:
        """``IMAGENET1K_V1``, from torchvision's server or torch's cache of it; see `Backbone.imagenet_weights`."""
        url = _WEIGHTS_URL + cls.weights_file
        try:
            weights: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
        except (OSError, RuntimeError, ValueError, EOFError, http.client.HTTPException, pickle.PickleError) as error:
            raise CheckpointError(
                f"The ImageNet weights of {cls.__name__} cannot be fetched ({error}).",
                f"Download {url} where there is a network, and give the file: weights=PATH.",
            ) from error
        return weights


class ResNet18(_ResNet):
    """ResNet-18."""

    level_channels: ClassVar[Mapping[int, int]] = _WIDTHS
    repeats = (2, 2, 2, 2)
    is_deep = False
    weights_file = "resnet18-f37072fd.pth"


class ResNet50(_ResNet):
    """ResNet-50."""

    level_channels: ClassVar[Mapping[int, int]] = {stride: _EXPANSION * width for stride, width in _WIDTHS.items()}
    repeats = (3, 4, 6, 3)
    weights_file = "resnet50-0676ba61.pth"


class ResNet101(_ResNet):
    """ResNet-101."""

    level_channels: ClassVar[Mapping[int, int]] = ResNet50.level_channels
    repeats = (3, 4, 23, 3)
    weights_file = "resnet101-63fe2227.pth"


class WideResNet50(_ResNet):
    """WideResNet-50-2 (Zagoruyko & Komodakis, 2016): what SimpleNet, PBAS and PatchCore were published with."""

    level_channels: ClassVar[Mapping[int, int]] = ResNet50.level_channels
    repeats = (3, 4, 6, 3)
    widening = 2
    weights_file = "wide_resnet50_2-95faca4d.pth"


def _norm_of(conv_name: str) -> str:
    """Name of the batch norm that follows a convolution, in torchvision's names."""
    parent, _, name = conv_name.rpartition(".")
    norm = "1" if name == "0" else name.replace("conv", "bn")  # that of a shortcut has a number
    return f"{parent}.{norm}" if parent else norm
