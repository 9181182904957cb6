"""The backbone contract: a frozen network as a pyramid of feature levels, each named by its stride."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edge_ad.errors import CheckpointError, UsageError, require
from edge_ad.models.feature_matching import FeatureMatching, MatchingKind, create_matching

__all__ = ["Backbone", "load_folded", "read_weights"]

_HINT = "Give a state dict of this very architecture, in its authors' names."
_WEIGHTS_FILE_HINT = "Save it with torch.save(model.state_dict(), 'weights.pth'), or as .safetensors."


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
    default_levels: ClassVar[tuple[int, ...]] = (8, 16)
    """Levels that detectors take where none are asked for."""
    has_one_level: ClassVar[bool] = False
    """Whether its levels are the same features on another grid, and only one of them is had at a time."""
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
        self.matching = nn.ModuleDict()

    def add_matching(
        self, kind: MatchingKind, levels: Sequence[int], *, size_hw: tuple[int, int], share: float = 0.5
    ) -> None:
        """Match the features of some levels to those of normal pictures; what is deeper is computed from them.

        Args:
            kind: How.
            levels: Strides, ascending; those beyond the deepest level that is returned are left out.
            size_hw: Height and width of the images, in pixels.
            share: Of the reference in what comes out, in (0, 1].
        """
        for level in levels:
            if level <= self.levels[-1]:
                positions = (size_hw[0] // level) * (size_hw[1] // level)
                matching = create_matching(kind, self.channels_of(level), positions, share=share)
                self.matching[str(level)] = matching

    @torch.no_grad()
    def fit_matching(self, batches: Sequence[Tensor]) -> None:
        """Take pictures as the reference of all levels that are matched, the finest first.

        Args:
            batches: Float RGB (N, 3, H, W) each, in [0, 1].
        """
        for matching in self.matching.values():
            assert isinstance(matching, FeatureMatching)
            matching.fit(self._inputs_of(matching, batches))

    def _inputs_of(self, module: nn.Module, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        seen: list[Tensor] = []
        handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            for batch in batches:
                self(batch)
                yield seen.pop()
        finally:
            handle.remove()

    def matched(self, level: int, features: Tensor) -> Tensor:
        """Features of the level with this stride, matched where that was asked for; for ``forward``."""
        name = str(level)
        matched: Tensor = self.matching[name](features) if name in self.matching else features
        return matched

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

    @classmethod
    def read_published(cls, source: str) -> dict[str, Tensor]:
        """A state dict in its authors' names from a path.

        Raises:
            UsageError: There is no such file.
            CheckpointError: It cannot be read, or is not a state dict.
        """
        return read_weights(Path(source))

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


def load_folded(
    conv: nn.Conv2d, weights: Mapping[str, Tensor], conv_name: str, norm_name: str, *, epsilon: float
) -> None:
    """Load a convolution with the batch norm that follows it folded in, which is exact in evaluation mode.

    Args:
        conv: Convolution with a bias.
        weights: Published state dict.
        conv_name: Name of its convolution, which has no bias.
        norm_name: Name of its batch norm.
        epsilon: What the batch norm adds to the variance.

    Raises:
        CheckpointError: Something is missing, of another shape, or not finite.
    """
    channels = (conv.out_channels,)
    kernel = _named(weights, f"{conv_name}.weight", tuple(conv.weight.shape))
    gain, shift, mean, variance = (
        _named(weights, f"{norm_name}.{name}", channels) for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / (variance + epsilon).sqrt()
    folded = {"weight": kernel * scale[:, None, None, None], "bias": shift - mean * scale}
    if not all(bool(tensor.isfinite().all()) for tensor in folded.values()):
        raise CheckpointError(f"{conv_name} and {norm_name} hold values that are not finite.", _HINT)
    conv.load_state_dict(folded)


def _named(weights: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    if name not in weights:
        raise CheckpointError(f"{name} is missing.", _HINT)
    if tuple(weights[name].shape) != shape:
        raise CheckpointError(f"{name} has the shape {tuple(weights[name].shape)}, not {shape}.", _HINT)
    return weights[name]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict.

    Args:
        path: ``.safetensors``, or anything that ``torch.save`` wrote.

    Raises:
        UsageError: There is no such file.
        CheckpointError: It cannot be read, or is not a state dict.
    """
    if not path.is_file():
        raise UsageError(f"There is no file of weights {path}.", "Give weights=imagenet or the path of a state dict.")
    try:
        content = _content(path)
    except Exception as error:  # a damaged file fails in the ways of pickle, zip and safetensors, which share no class
        raise CheckpointError(f"{path} cannot be read as weights.", _WEIGHTS_FILE_HINT) from error
    if not isinstance(content, dict) or not content or not all(isinstance(item, Tensor) for item in content.values()):
        raise CheckpointError(f"{path} is not a state dict.", _WEIGHTS_FILE_HINT)
    return content


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return require("safetensors.torch", extra="train").load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on formats that are refused here anyway
        return torch.load(path, map_location="cpu", weights_only=True)
