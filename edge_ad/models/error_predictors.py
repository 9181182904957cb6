"""Predictors of patch-wise reconstruction error: FADeR's two-layer MLP, its ViT variant, and the ranking loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import UsageError

__all__ = ["MlpPredictor", "VitPredictor", "patch_errors", "ranking_loss"]


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
