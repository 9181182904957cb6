"""The channels of each scale on one scale: a flow that learns for minutes must not spend them on units."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["ScaleStandardisation"]

_VARIANCE_FLOOR = 1e-6


class ScaleStandardisation(nn.Module):
    """``(x − μ) / σ`` with a mean and a deviation for each channel of each scale; the identity until it is fitted.

    Args:
        channels: Of each scale.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        for index, each in enumerate(channels):
            self.register_buffer(f"mean_{index}", torch.zeros(1, each, 1, 1))
            self.register_buffer(f"deviation_{index}", torch.ones(1, each, 1, 1))

    @torch.no_grad()
    def fit(self, scales: Sequence[Tensor]) -> None:
        """Fit on feature maps of good photos, (N, C, h, w) for each scale."""
        for index, scale in enumerate(scales):
            variance, mean = torch.var_mean(scale, (0, 2, 3), keepdim=True)
            self.get_buffer(f"mean_{index}").copy_(mean)
            self.get_buffer(f"deviation_{index}").copy_((variance + _VARIANCE_FLOOR).sqrt())

    def forward(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps (N, C, h, w) → the same shapes."""
        return [
            (scale - self.get_buffer(f"mean_{index}")) / self.get_buffer(f"deviation_{index}")
            for index, scale in enumerate(scales)
        ]
