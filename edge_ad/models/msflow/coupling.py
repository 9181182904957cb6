"""One block of a flow along a scale: affine coupling, an affine map of the channels, and a fixed permutation of them.

It is FrEIA's ``AllInOneBlock`` (release 0.2) with the subnet of MSFlow's authors, written out. Half of the channels
stay as they are and say, with the position, how the other half is scaled and moved; so the block is invertible, and its
Jacobian is triangular.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ChannelNorm", "Coupling", "position_code"]

_LONGEST_WAVE = 1e4  # of the position code, over 2π
_GAIN = 0.1
_UNIT_SCALE = 2 * math.log(math.exp(5.0) - 1)  # of which `gain` makes 1


def position_code(channels: int, grid_hw: tuple[int, int]) -> Tensor:
    """Sines and cosines of column and row, as in "Attention is all you need", along two axes.

    Args:
        channels: A multiple of 4: half of them tell the column, half the row, sine and cosine in turns.
        grid_hw: Height and width of the feature map.

    Returns:
        float32 (1, channels, h, w) in [-1, 1].
    """
    half = channels // 2
    frequencies = torch.exp(torch.arange(0, half, 2) * (-math.log(_LONGEST_WAVE) / max(half, 1)))
    rows, columns = (torch.arange(side)[:, None] * frequencies for side in grid_hw)
    across, down = (torch.stack([angles.sin(), angles.cos()], 2).flatten(1).T for angles in (columns, rows))
    height, width = grid_hw
    code = [across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)]
    return torch.cat(code)[None].float()


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Coupling(nn.Module):
    """``y = P (g ⊙ [x₁, x₂ ⊙ exp(c tanh s) + t] + o)``, with s and t from x₁ and the position.

    Args:
        channels: C; x₁ is the first half, rounded up.
        condition: Channels of the position code.
        clamp: c, the largest logarithm of a factor.
    """

    damping: ClassVar[float] = 0.1
    """Of what the subnet gives: a new block is nearly the identity."""

    def __init__(self, channels: int, condition: int, clamp: float) -> None:
        super().__init__()
        self.clamp, self.kept, self.changed = clamp, channels - channels // 2, channels // 2
        inputs = self.kept + condition
        self.first = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.norm = ChannelNorm(inputs)
        self.second = nn.Conv2d(inputs, 2 * self.changed, 3, padding=1)
        self.scale = nn.Parameter(torch.full((1, channels, 1, 1), _UNIT_SCALE))
        self.offset = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("order", torch.randperm(channels))

    def forward(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """One block.

        Args:
            x: (N, C, h, w).
            code: Of the position, (1, condition, h, w).

        Returns:
            y (N, C, h, w), and the logarithm of the Jacobian's determinant, (N,).
        """
        kept, changed = torch.split(x, [self.kept, self.changed], 1)
        log_factor, shift = self.coefficients(kept, code)
        gain = self.gain()
        mixed = torch.cat([kept, changed * log_factor.exp() + shift], 1) * gain + self.offset
        positions = x.shape[2] * x.shape[3]
        return mixed[:, self.get_buffer("order")], log_factor.sum((1, 2, 3)) + positions * gain.log().sum()

    def inverse(self, y: Tensor, code: Tensor) -> Tensor:
        """The input of which `forward` makes y."""
        mixed = (y[:, self.get_buffer("order").argsort()] - self.offset) / self.gain()
        kept, changed = torch.split(mixed, [self.kept, self.changed], 1)
        log_factor, shift = self.coefficients(kept, code)
        return torch.cat([kept, (changed - shift) * (-log_factor).exp()], 1)

    def gain(self) -> Tensor:
        """Factor of each channel, above 0, (1, C, 1, 1)."""
        return _GAIN * F.softplus(self.scale, beta=0.5)

    def coefficients(self, kept: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """``c tanh s`` and t, (N, C // 2, h, w) each, from x₁ (N, C - C // 2, h, w)."""
        # The code is the same for every image: its part of the convolution is computed once.
        own, of_code = self.first.weight[:, : self.kept], self.first.weight[:, self.kept :]
        hidden = F.conv2d(kept, own, self.first.bias, padding=1) + F.conv2d(code, of_code, padding=1)
        given = self.damping * self.second(F.relu(self.norm(hidden)))
        log_factor, shift = given.chunk(2, 1)
        return self.clamp * log_factor.tanh(), shift
