"""FADeR's error predictors, and how their masks become soft."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import UsageError

__all__ = [
    "Masking",
    "MlpPredictor",
    "Normalisation",
    "Scaling",
    "SoftMask",
    "VitPredictor",
    "patch_errors",
    "ranking_loss",
    "scale_mask",
]

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


def patch_errors(images: Tensor, reconstruction: Tensor, patch: int) -> Tensor:
    """Ground truth of eq. (1): squared error per patch, averaged over its pixels and channels.

    Args:
        images: (N, 3, H, W) in [0, 1].
        reconstruction: Same shape.
        patch: Side of a patch, pixels.

    Returns:
        (N, 1, H / patch, W / patch), non-negative.
    """
    return F.avg_pool2d((images - reconstruction).square().mean(1, keepdim=True), patch)


def ranking_loss(predicted: Tensor, target: Tensor, generator: torch.Generator, *, margin: float = 1.0) -> Tensor:
    """Margin ranking loss over random pairs of patches of one image, eq. (3).

    ``max(0, -sign(l_i - l_j)·(l̂_i - l̂_j) + ξ)`` where equal targets count as -1.

    Args:
        predicted: (N, 1, h, w) predicted errors l̂.
        target: (N, 1, h, w) errors l.
        generator: Draws the pairs.
        margin: ξ; 1 as in "Learning Loss for Active Learning" (the paper gives none).

    Returns:
        Scalar.
    """
    predicted, target = predicted.flatten(1), target.flatten(1)
    partner = torch.randperm(target.shape[1], generator=generator)
    sign = torch.where(target > target[:, partner], 1.0, -1.0)
    return (margin - sign * (predicted - predicted[:, partner])).clamp_min(0).mean()


class MlpPredictor(nn.Module):
    """Two-layer MLP on flattened patches, eq. (2); the first layer is the convolution that flattens.

    Args:
        patch: Side of a patch, pixels.
        hidden: Hidden width.
    """

    def __init__(self, patch: int, hidden: int = 128) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, hidden, patch, patch)
        self.second = nn.Conv2d(hidden, 1, 1)

    def forward(self, obfuscated: Tensor) -> Tensor:
        """(N, 3, H, W) → predicted errors (N, 1, H / patch, W / patch), unbounded."""
        error: Tensor = self.second(F.relu(self.first(obfuscated)))
        return error


class VitPredictor(nn.Module):
    """The ablation of Table 3: patches that see each other through self-attention.

    Args:
        patch: Side of a patch, pixels.
        grid_hw: Patches per column and row.
        hidden: Token width.
        depth: Transformer blocks.
        heads: Attention heads; must divide ``hidden``.

    Raises:
        UsageError: ``hidden`` is not a multiple of ``heads``.
    """

    def __init__(
        self, patch: int, grid_hw: tuple[int, int], *, hidden: int = 128, depth: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise UsageError(f"The hidden width {hidden} does not divide into {heads} heads.", "Give a multiple.")
        self.embed = nn.Conv2d(3, hidden, patch, patch)
        self.position = nn.Parameter(torch.zeros(1, grid_hw[0] * grid_hw[1], hidden))
        self.blocks = nn.ModuleList(_TransformerBlock(hidden, heads) for _ in range(depth))
        self.head = nn.Linear(hidden, 1)

    def forward(self, obfuscated: Tensor) -> Tensor:
        """(N, 3, H, W) → predicted errors (N, 1, H / patch, W / patch), unbounded."""
        tokens = self.embed(obfuscated)
        height, width = tokens.shape[2:]
        x = tokens.flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x)
        error: Tensor = self.head(x).reshape(-1, 1, height, width)
        return error


class _TransformerBlock(nn.Module):
    """Pre-norm attention and MLP, written out so that it exports as plain matrix products."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(self.norm_attention(x))
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out

    def _attend(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=2)
        )
        weights = (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(-1)
        mixed: Tensor = self.out((weights @ value).transpose(1, 2).flatten(2))
        return mixed
