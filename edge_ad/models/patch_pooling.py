"""The papers' patch vectors as one fixed convolution per level.

SimpleNet and PBAS unfold k×k patches, flatten each to ``C·k·k`` values, channel by channel, and adaptive-average-pool
these to a fixed width. A mean of neighbouring values of a flattened patch is a convolution whose weights never change,
and it exports as one: there is no Unfold in the graph.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["pool_patches", "pooling_kernel"]


def pooling_kernel(channels: int, width: int, neighbourhood: int) -> Tensor:
    """Kernel of the convolution that pools patches of a level to a width.

    Output j is the mean of the flattened values ``floor(j·L / width)`` to ``ceil((j + 1)·L / width)``, with
    ``L = channels · neighbourhood²``. It falls into as many groups as channels and width have in common; with
    ``width == channels`` it is the average of each channel.

    Args:
        channels: Of the level.
        width: Channels to pool to.
        neighbourhood: Side of a patch, odd.

    Returns:
        float64 (width, channels / groups, neighbourhood, neighbourhood).
    """
    groups = math.gcd(channels, width)
    outputs, length = width // groups, channels // groups * neighbourhood**2
    rows = torch.zeros(outputs, length, dtype=torch.float64)
    for row, values in enumerate(rows):
        start, end = row * length // outputs, -(-(row + 1) * length // outputs)
        values[start:end] = 1 / (end - start)
    return rows.reshape(outputs, -1, neighbourhood, neighbourhood).repeat(groups, 1, 1, 1)


def pool_patches(level: Tensor, kernel: Tensor) -> Tensor:
    """A level (N, C, h, w) as pooled patches (N, width, h, w); zeros lie beyond the border, as in the papers."""
    return F.conv2d(level, kernel, padding=kernel.shape[2] // 2, groups=level.shape[1] // kernel.shape[1])
