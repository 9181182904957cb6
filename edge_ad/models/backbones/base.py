"""The backbone contract: a frozen network as a pyramid of feature levels, each named by its stride."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["Backbone"]


class Backbone(nn.Module, ABC):
    """Frozen feature pyramid.

    ``forward`` takes float RGB (N, 3, H, W) in [0, 1], since normalisation constants are inside, and returns one
    (N, C, H / stride, W / stride) per level. Batch norms are folded into the convolutions: there is nothing left that
    training could move. What the deepest level does not need is not built. A new backbone has no weights worth the
    name until they are loaded, drawn, or restored from a checkpoint.

    Args:
        levels: Strides to return, out of ``level_channels``, ascending.
    """

    level_channels: ClassVar[Mapping[int, int]]
    """Stride of a feature level → its channels."""
    int8_float_start: ClassVar[tuple[str, ...]] = ()
    """Modules at its start that an INT8 graph leaves in float. What makes the largest maps carries most of the noise
    that an INT8 backbone adds to its features, and later layers amplify it, while these layers have little of the
    arithmetic. Dotted names; a name stands for all inside."""
    int8_float_blocks: ClassVar[tuple[str, ...]] = ()
    """Blocks of its later stages that an INT8 graph leaves in float too, as no shortcut goes around their noise."""
    bf16_float_start: ClassVar[tuple[str, ...]] = ()
    """Modules at its start that a bfloat16 graph leaves in float32. bfloat16 has 8 bits to INT8's 256 levels: near the
    top of a range it is the coarser of the two."""

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = levels

    def channels_of(self, level: int) -> int:
        """Channels of the level with this stride."""
        return self.level_channels[level]

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of each level, finest first."""

    @classmethod
    @abstractmethod
    def imagenet_weights(cls) -> dict[str, Tensor]:
        """The published ImageNet weights, as a state dict in their authors' names.

        Raises:
            MissingDependencyError: The package that brings them is not installed.
            CheckpointError: They cannot be had.
        """

    @abstractmethod
    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Fold the batch norms of a published state dict into the convolutions and load them.

        Args:
            weights: State dict in its authors' names; what is not needed is left out.

        Raises:
            CheckpointError: Something is missing, of another shape, or not finite.
        """

    def draw_weights(self, seed: int) -> None:
        """Random weights that keep the scale of features (He et al., 2015): untrained, for tests alone."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
