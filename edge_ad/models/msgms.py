"""Multi-scale gradient magnitude similarity (Xue et al. 2014; RIAD, Zavrtanik et al. 2021).

GMS = (2 g(a) g(b) + c) / (g(a)² + g(b)² + c), with g the Prewitt gradient magnitude of the grey image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MSGMS"]

_STABILITY = 0.0026
_GRADIENT_FLOOR = 1e-12  # keeps the square root differentiable on flat regions


class MSGMS(nn.Module):
    """Gradient magnitude similarity over scales.

    Args:
        scales: Number of scales; each halves the image by 2×2 averaging.
    """

    def __init__(self, scales: int = 4) -> None:
        super().__init__()
        self.scales = scales

    def distances(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """1 - GMS at each scale, finest first.

        Args:
            a: (N, C, H, W) in [0, 1]; colour or grey, since the mean of the channels is looked at.
            b: Same height and width.

        Returns:
            One (N, 1, H / 2^s, W / 2^s) in [0, 1) per scale.
        """
        grey_a, grey_b = (x if x.shape[1] == 1 else x.mean(1, keepdim=True) for x in (a, b))
        maps = []
        for scale in range(self.scales):
            if scale:
                grey_a, grey_b = F.avg_pool2d(grey_a, 2), F.avg_pool2d(grey_b, 2)
            maps.append(self._distance(grey_a, grey_b))
        return maps

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean over scales of 1 - GMS, each brought to full size: (N, 1, H, W) in [0, 1)."""
        size = a.shape[2:]
        maps = self.distances(a, b)
        full = [maps[0]] + [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in maps[1:]]
        return sum(full[1:], full[0]) / self.scales

    def loss(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean of 1 - GMS over pixels and scales: a scalar."""
        return torch.stack([x.mean() for x in self.distances(a, b)]).mean()

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        squared_a, squared_b = self._squared_gradient(a), self._squared_gradient(b)
        # A root each, not one of the product: the product of small squares underflows in half precision.
        product = (squared_a + _GRADIENT_FLOOR).sqrt() * (squared_b + _GRADIENT_FLOOR).sqrt()
        return 1 - (2 * product + _STABILITY) / (squared_a + squared_b + _STABILITY)

    def _squared_gradient(self, grey: Tensor) -> Tensor:
        """Prewitt's sums and differences axis by axis: a convolution of one channel is slow, above all in training."""
        padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")  # a border of zeros would be an edge
        columns = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
        rows = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
        across = columns[..., 2:] - columns[..., :-2]
        down = rows[:, :, 2:] - rows[:, :, :-2]
        return (across.square() + down.square()) / 9  # Prewitt / 3, squared
