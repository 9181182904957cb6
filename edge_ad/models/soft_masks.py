"""From predicted errors to FADeR's soft mask ``M_S = 1 - normalise(l̂)`` (section 3.3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Masking", "Normalisation", "Scaling", "SoftMask", "scale_mask"]

Normalisation = Literal["sigmoid", "minmax"]
Masking = Literal["soft", "hard"]
Scaling = Literal["nearest", "bilinear"]

_MOMENTUM = 0.1


class SoftMask(nn.Module):
    """Normalise predicted errors into (0, 1) and flip them.

    The ranking loss does not fix the errors' level, so ``sigmoid`` is anchored: 0.5 lies ``anchor`` standard deviations
    above the mean over normal training patches, kept as running statistics. ``minmax`` scales per image and so always
    cuts something out of a clean one.

    Args:
        normalisation: ``sigmoid`` or ``minmax``.
        anchor: Standard deviations above the mean of normal patches, for ``sigmoid``.
        masking: ``hard`` rounds the mask to {0, 1} (the paper's ablation).
    """

    def __init__(
        self, normalisation: Normalisation = "sigmoid", anchor: float = 2.33, masking: Masking = "soft"
    ) -> None:
        super().__init__()
        self.normalisation, self.anchor, self.masking = normalisation, anchor, masking
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    @torch.no_grad()
    def update(self, errors: Tensor) -> None:
        """Follow the mean and standard deviation of the errors of normal patches, (N, 1, h, w)."""
        self.get_buffer("mean").lerp_(errors.mean(), _MOMENTUM)
        self.get_buffer("std").lerp_(errors.std().clamp_min(1e-6), _MOMENTUM)

    def forward(self, errors: Tensor) -> Tensor:
        """(N, 1, h, w) predicted errors → mask of the same shape; near 0 attenuates."""
        if self.normalisation == "sigmoid":
            z = (errors - self.get_buffer("mean")) / self.get_buffer("std")
            normalised = torch.sigmoid(z - self.anchor)
        else:
            low, high = errors.amin((1, 2, 3), keepdim=True), errors.amax((1, 2, 3), keepdim=True)
            normalised = (errors - low) / (high - low + 1e-6)
        return self.flip(normalised)

    def flip(self, normalised: Tensor) -> Tensor:
        """``1 - normalised``, rounded when masking is hard."""
        mask = 1 - normalised
        return (mask > 0.5).to(mask.dtype) if self.masking == "hard" else mask


def scale_mask(mask: Tensor, size_hw: tuple[int, int], scaling: Scaling) -> Tensor:
    """Θ of eq. (4): bring a mask (N, 1, h, w) to the size of a skip."""
    if tuple(mask.shape[2:]) == size_hw:
        return mask
    if scaling == "nearest":
        return F.interpolate(mask, size_hw, mode="nearest")
    return F.interpolate(mask, size_hw, mode="bilinear", align_corners=False)
