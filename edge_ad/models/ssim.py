"""Structural similarity (Wang et al. 2004) with a Gaussian window."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ssim"]


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
