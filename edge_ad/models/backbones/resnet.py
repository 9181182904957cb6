"""ResNet-18 and WideResNet-50 as frozen feature pyramids, with their batch norms folded into the convolutions.

Architecture and ImageNet weights are torchvision's (``IMAGENET1K_V1``, which SimpleNet and PBAS take). It is imported
when a backbone is built: a workstation without it does everything else.
"""

from __future__ import annotations

import http.client
import itertools
import pickle
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import CheckpointError, MissingDependencyError, require
from edge_ad.models.backbones.base import Backbone, load_folded

__all__ = ["ResNet18", "WideResNet50"]

_STAGE_OF_LEVEL = {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"}
_LEVEL_OF_STAGE = {stage: level for level, stage in _STAGE_OF_LEVEL.items()}
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_BATCH_NORM_EPSILON = 1e-5


class _ResNet(Backbone):
    architecture: ClassVar[str]
    """Name of torchvision's function."""
    published: ClassVar[str]
    """Name of torchvision's weights."""
    int8_float_start: ClassVar[tuple[str, ...]] = ("conv1",)
    bf16_float_start: ClassVar[tuple[str, ...]] = ("conv1",)

    def __init__(self, levels: tuple[int, ...] = (8, 16)) -> None:
        super().__init__(levels)
        with torch.device("meta"):  # fc and the stages beyond the deepest level never get any memory
            whole = getattr(_torchvision().models, self.architecture)(weights=None)
        self.conv1, self.bn1, self.maxpool = whole.conv1, whole.bn1, whole.maxpool
        self.stages = [_STAGE_OF_LEVEL[level] for level in _STAGE_OF_LEVEL if level <= levels[-1]]
        for stage in self.stages:
            self.add_module(stage, whole.get_submodule(stage))
        self._folded = _fold(self)
        self.register_buffer("mean", torch.tensor(_MEAN)[None, :, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[None, :, None, None], persistent=False)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of each level, finest first."""
        x = F.relu(self.conv1((images - self.get_buffer("mean")) / self.get_buffer("std")))
        x = self.maxpool(x)
        features = {}
        for stage in self.stages:
            level = _LEVEL_OF_STAGE[stage]
            features[level] = x = self.matched(level, self.get_submodule(stage)(x))
        return [features[level] for level in self.levels]

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Load a state dict in torchvision's names; see `Backbone.load_published`."""
        for conv_name, norm_name in self._folded.items():
            conv = self.get_submodule(conv_name)
            assert isinstance(conv, nn.Conv2d)
            load_folded(conv, weights, conv_name, norm_name, epsilon=_BATCH_NORM_EPSILON)

    @classmethod
    def imagenet_weights(cls) -> dict[str, Tensor]:
        """``IMAGENET1K_V1``, from torchvision's hub; see `Backbone.imagenet_weights`."""
        published = getattr(_torchvision().models, cls.published).IMAGENET1K_V1
        try:
            weights: dict[str, Tensor] = published.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, http.client.HTTPException, pickle.PickleError) as error:
            raise CheckpointError(
                f"torchvision cannot fetch the ImageNet weights of {cls.architecture} ({error}).",
                f"Download {published.url} where there is a network, and give the file: weights=PATH.",
            ) from error
        return weights


class ResNet18(_ResNet):
    """ResNet-18 (He et al., 2016)."""

    level_channels: ClassVar[Mapping[int, int]] = {4: 64, 8: 128, 16: 256, 32: 512}
    architecture = "resnet18"
    published = "ResNet18_Weights"


class WideResNet50(_ResNet):
    """WideResNet-50-2 (Zagoruyko & Komodakis, 2016): what SimpleNet, PBAS and PatchCore were published with."""

    level_channels: ClassVar[Mapping[int, int]] = {4: 256, 8: 512, 16: 1024, 32: 2048}
    architecture = "wide_resnet50_2"
    published = "Wide_ResNet50_2_Weights"


def _fold(network: nn.Module) -> dict[str, str]:
    """Give every convolution that a batch norm follows a bias, and take the batch norm out.

    Returns:
        Name of the convolution → name of its batch norm.
    """
    folded = {}
    for parent_name, conv_name, norm_name in list(_pairs(network)):
        parent = network.get_submodule(parent_name)
        conv = parent.get_submodule(conv_name)
        assert isinstance(conv, nn.Conv2d)
        conv.to_empty(device="cpu")
        conv.weight.data.zero_()
        conv.bias = nn.Parameter(torch.zeros(conv.out_channels))
        setattr(parent, norm_name, nn.Identity())
        prefix = f"{parent_name}." if parent_name else ""
        folded[prefix + conv_name] = prefix + norm_name
    return folded


def _pairs(network: nn.Module) -> Iterator[tuple[str, str, str]]:
    for name, parent in network.named_modules():
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(parent.named_children()):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                yield name, conv_name, norm_name


def _torchvision() -> ModuleType:
    try:
        return require("torchvision", extra="torchvision")
    except (RuntimeError, AttributeError, OSError) as error:  # it is there, but built for another torch
        raise MissingDependencyError(
            f"torchvision does not load beside torch {torch.__version__} ({error}).",
            "Install the pair that belongs together: pip install 'edge-ad[torchvision]' in a new environment.",
        ) from error
