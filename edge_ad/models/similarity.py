"""Similarity of two images: SSIM, and gradient magnitudes at several scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MSGMS", "ssim"]

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


def ssim(a: Tensor, b: Tensor, *, window: int = 11, sigma: float = 1.5) -> Tensor:
    """SSIM map of two images.

    ``(2 μa μb + C1)(2 σab + C2) / ((μa² + μb² + C1)(σa² + σb² + C2))`` with C1 = 0.01², C2 = 0.03².

    Args:
        a: (N, C, H, W) in [0, 1].
        b: Same shape.
        window: Side of the Gaussian window, pixels, odd.
        sigma: Its standard deviation, pixels.

    Returns:
        (N, C, H - window + 1, W - window + 1) in [-1, 1]; only whole windows.
    """
    mean_a, mean_b = _filter(a, window, sigma), _filter(b, window, sigma)
    var_a = _filter(a * a, window, sigma) - mean_a**2
    var_b = _filter(b * b, window, sigma) - mean_b**2
    cov = _filter(a * b, window, sigma) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def _filter(x: Tensor, window: int, sigma: float) -> Tensor:
    offsets = torch.arange(window, dtype=x.dtype, device=x.device) - (window - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (weights / weights.sum()).expand(x.shape[1], 1, 1, window)
    x = F.conv2d(x, kernel, groups=x.shape[1])
    return F.conv2d(x, kernel.transpose(2, 3), groups=x.shape[1])
