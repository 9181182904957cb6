"""Smoothing of anomaly maps, written so that every backend runs the same arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["GaussianFilter", "MeanFilter", "PaddedMeanFilter"]


class MeanFilter(nn.Module):
    """Mean over a square window; at the border over the pixels that exist.

    Args:
        window: Side, pixels, odd. RIAD uses 21.
    """

    def __init__(self, window: int = 21) -> None:
        super().__init__()
        self.window = window

    def forward(self, anomaly_map: Tensor) -> Tensor:
        """(N, 1, H, W) → the same shape. Two one-dimensional means cost 2·window instead of window²."""
        half = self.window // 2
        rows = F.avg_pool2d(anomaly_map, (self.window, 1), 1, (half, 0), count_include_pad=False)
        return F.avg_pool2d(rows, (1, self.window), 1, (0, half), count_include_pad=False)


class PaddedMeanFilter(nn.Module):
    """Mean over a square window with zeros beyond the border, as DRAEM's score has it.

    Written as two convolutions of fixed weights, which every backend runs alike.

    Args:
        window: Side, pixels, odd.
    """

    def __init__(self, window: int = 21) -> None:
        super().__init__()
        self.reach = window // 2
        self.register_buffer("kernel", torch.full((1, 1, 1, window), 1 / window))

    def forward(self, anomaly_map: Tensor) -> Tensor:
        """(N, 1, H, W) → the same shape."""
        kernel = self.get_buffer("kernel")
        rows = F.conv2d(anomaly_map, kernel, padding=(0, self.reach))
        return F.conv2d(rows, kernel.transpose(2, 3), padding=(self.reach, 0))


class GaussianFilter(nn.Module):
    """Gaussian smoothing with replicated borders.

    Args:
        sigma: Standard deviation, pixels. The feature detectors use 4.
    """

    def __init__(self, sigma: float = 4.0) -> None:
        super().__init__()
        self.radius = int(4 * sigma + 0.5)
        offsets = torch.arange(-self.radius, self.radius + 1, dtype=torch.float32)
        weights = torch.exp(-(offsets**2) / (2 * sigma**2))
        self.register_buffer("kernel", (weights / weights.sum())[None, None, None])

    def forward(self, anomaly_map: Tensor) -> Tensor:
        """(N, 1, H, W) → the same shape."""
        kernel, radius = self.get_buffer("kernel"), self.radius
        padded = F.pad(anomaly_map, (radius, radius, radius, radius), mode="replicate")
        return F.conv2d(F.conv2d(padded, kernel), kernel.transpose(2, 3))
