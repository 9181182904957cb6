"""Bottleneck and student of reverse distillation (Deng & Li, CVPR 2022).

The bottleneck brings three levels of the teacher to the coarsest and compresses them to one code of half that grid; the
student is the teacher's mirror and gives the levels back from it, the coarsest first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

__all__ = ["Bottleneck", "ConvNorm", "ResidualBlock", "Student", "fold_norms"]

_SQUEEZE = 2  # of a residual block's channels, inside
_CODE = 2  # channels of the code over those of the coarsest level


class ConvNorm(nn.Module):
    """Convolution, batch norm, and a ReLU if asked for.

    Args:
        inputs: Channels that it reads.
        outputs: Channels that it makes.
        kernel: Side, odd.
        stride: 1 or 2.
        up: Double the grid instead, by the transposed convolution of 2 × 2 with stride 2, which ``kernel`` 1 must be
            given for. It is written as a convolution to four times the channels whose outputs are dealt out to the
            four places: the same sums, in a form that every backend runs in INT8.
        activation: Whether a ReLU follows.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, up: bool = False, activation: bool = True
    ) -> None:
        super().__init__()
        self.up, self.activation = up, activation
        made = 4 * outputs if up else outputs
        self.conv = nn.Conv2d(inputs, made, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, outputs, h', w')."""
        x = self.conv(x)
        x = self.norm(F.pixel_shuffle(x, 2) if self.up else x)
        return F.relu(x) if self.activation else x

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the batch norm into the convolution: the same function in evaluation mode."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d):
            return
        assert norm.running_mean is not None
        assert norm.running_var is not None
        repeats = 4 if self.up else 1  # pixel_shuffle deals out four neighbouring channels to one
        values = [x.repeat_interleave(repeats) for x in (norm.running_mean, norm.running_var, norm.weight, norm.bias)]
        mean, variance, gain, shift = values
        folded = fuse_conv_bn_weights(self.conv.weight, None, mean, variance, norm.eps, gain, shift)
        self.conv.weight, self.conv.bias = folded
        self.norm = nn.Identity()


def fold_norms(network: nn.Module) -> None:
    """Fold every batch norm of a network in evaluation mode."""
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.fold()


class ResidualBlock(nn.Module):
    """1 × 1 to half the channels, 3 × 3, 1 × 1 back, and the shortcut (He et al., 2016).

    Args:
        inputs: Channels that it reads.
        outputs: Channels that it makes.
        stride: 1, or 2 in the 3 × 3.
        up: Double the grid in the middle instead.
        activation: Whether a ReLU follows the sum.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int = 1, up: bool = False, activation: bool = True
    ) -> None:
        super().__init__()
        width = outputs // _SQUEEZE
        self.activation = activation
        self.squeeze = ConvNorm(inputs, width, 1)
        self.middle = ConvNorm(width, width, 1, up=True) if up else ConvNorm(width, width, 3, stride=stride)
        self.expand = ConvNorm(width, outputs, 1, activation=False)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1 or up:
            self.shortcut = ConvNorm(inputs, outputs, 1, stride=stride, up=up, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, outputs, h', w')."""
        out: Tensor = self.expand(self.middle(self.squeeze(x))) + self.shortcut(x)
        return F.relu(out) if self.activation else out


class Bottleneck(nn.Module):
    """Three levels → one code: the one-class bottleneck embedding.

    Finer levels are brought to the coarsest by 3 × 3 convolutions of stride 2, all are concatenated, and residual
    blocks compress them to half the grid.

    Args:
        channels: Of the levels, finest first; each has half the grid of the one before.
        blocks: Residual blocks, the first of which halves the grid.
    """

    def __init__(self, channels: Sequence[int], blocks: int) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.fine = nn.Sequential(ConvNorm(fine, middle, 3, stride=2), ConvNorm(middle, coarse, 3, stride=2))
        self.middle = ConvNorm(middle, coarse, 3, stride=2)
        self.outputs = _CODE * coarse
        first = ResidualBlock(len(channels) * coarse, self.outputs, stride=2)
        self.blocks = nn.Sequential(first, *(ResidualBlock(self.outputs, self.outputs) for _ in range(blocks - 1)))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (N, C, h, w), finest first → code (N, 2·C of the coarsest, h / 8 of the finest, …)."""
        fine, middle, coarse = levels
        code: Tensor = self.blocks(torch.cat([self.fine(fine), self.middle(middle), coarse], 1))
        return code


class Student(nn.Module):
    """Code → levels, as the mirror of the teacher.

    Args:
        inputs: Channels of the code.
        channels: Of the levels, finest first.
        blocks: Residual blocks of each stage, that of the coarsest level first.
        activated: Whether the levels end with a ReLU, as the teacher's do.
    """

    def __init__(self, inputs: int, channels: Sequence[int], blocks: Sequence[int], *, activated: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for outputs, count in zip(reversed(channels), blocks, strict=True):
            last = count - 1
            stage = [
                ResidualBlock(outputs if index else inputs, outputs, up=not index, activation=activated or index < last)
                for index in range(count)
            ]
            self.stages.append(nn.Sequential(*stage))
            inputs = outputs

    def forward(self, code: Tensor) -> list[Tensor]:
        """(N, C, h, w) → levels, finest first; the coarsest has twice the grid of the code."""
        levels: list[Tensor] = []
        for stage in self.stages:
            code = stage(code)
            levels.insert(0, code)
        return levels
