"""Tokens of a photo and centres that are made for it: the network of AMI-Net's adaptive mask (Luo et al., 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["TokenClusters", "clustering_loss", "distance_to_centres", "sine_cosine_positions"]

_HEAD = 64  # channels per head, as the paper's 768 in 12 heads
_MLP_RATIO = 4
_NOISE = 20.0
_APART = 0.1  # weight of the centres' distances from each other
_SMALLEST = 1e-12


class TokenClusters(nn.Module):
    """Patch features → tokens, and cluster centres that one transformer block makes of learned tokens and these.

    Args:
        channels: Of the features.
        grid_hw: Feature map height and width, multiples of ``patch``.
        patch: Side of a token, feature cells.
        width: Channels of a token, a multiple of 4.
        clusters: Centres per photo.
    """

    def __init__(self, channels: int, grid_hw: tuple[int, int], *, patch: int, width: int, clusters: int) -> None:
        super().__init__()
        self.clusters, self.heads = clusters, max(1, width // _HEAD)
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.cluster_tokens = nn.Parameter(0.02 * torch.randn(1, clusters, width))
        self.norm_attention, self.norm_mlp, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, _MLP_RATIO * width), nn.GELU(), nn.Linear(_MLP_RATIO * width, width))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        rows, columns = grid_hw[0] // patch, grid_hw[1] // patch
        self.register_buffer("positions", sine_cosine_positions(rows, columns, width), persistent=False)

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Tokens and centres.

        Args:
            features: (N, C, h, w).
            generator: In training, of the noise that the centres are made under.

        Returns:
            Tokens with their positions (N, T, width), and centres (N, clusters, width).
        """
        tokens, positions = self.embed(features).flatten(2).transpose(1, 2), self.get_buffer("positions")
        seen = tokens if generator is None else _with_noise(tokens, generator)
        # Room for the cluster tokens is padded: a token repeated for each image would fix the batch of a graph.
        room = F.pad(seen + positions, (0, 0, self.clusters, 0))
        every = room + F.pad(self.cluster_tokens, (0, 0, 0, positions.shape[1]))
        return tokens + positions, self.norm(self._centres(every))

    def _centres(self, tokens: Tensor) -> Tensor:
        """A transformer block, of which the first tokens alone are wanted."""
        shape = (tokens.shape[0], tokens.shape[1], 3, self.heads, tokens.shape[2] // self.heads)
        query, key, value = (
            part.squeeze(2).transpose(1, 2) for part in self.qkv(self.norm_attention(tokens)).reshape(shape).split(1, 2)
        )
        query = query[:, :, : self.clusters] * query.shape[3] ** -0.5
        mixed = ((query @ key.transpose(2, 3)).softmax(-1) @ value).transpose(1, 2)
        centres = tokens[:, : self.clusters] + self.out(mixed.reshape(-1, self.clusters, tokens.shape[2]))
        result: Tensor = centres + self.mlp(self.norm_mlp(centres))
        return result


def distance_to_centres(tokens: Tensor, centres: Tensor) -> Tensor:
    """``|z - c| · (1 - cos(z, c))``: (N, T, C) and (N, M, C) → (N, T, M)."""
    dot = tokens @ centres.transpose(1, 2)
    squares, other = tokens.square().sum(2, keepdim=True), centres.square().sum(2).unsqueeze(1)
    length = (tokens.unsqueeze(2) - centres.unsqueeze(1)).square().sum(3).clamp_min(_SMALLEST).sqrt()
    return length * (1 - dot / (squares * other).clamp_min(_SMALLEST).sqrt())


def clustering_loss(tokens: Tensor, centres: Tensor) -> Tensor:
    """Tokens near to their centre, centres far from each other: ``mean min d(z, c) - 0.1 · mean d(c, c')``."""
    nearest, count = distance_to_centres(tokens, centres).amin(2), centres.shape[1]
    apart = distance_to_centres(centres, centres) * (1 - torch.eye(count, device=centres.device))
    return nearest.mean() - _APART * (apart.sum((1, 2)) / (count * count - count)).mean()


def sine_cosine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Fixed positions as of masked autoencoders, (1, rows·columns, width): half for the column, half for the row."""
    frequencies = 1 / 10000 ** (torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = (place.reshape(-1, 1) * frequencies for place in (column, row))
    parts = [function(angle) for angle in angles for function in (torch.sin, torch.cos)]
    return torch.cat(parts, 1).float()[None]


def _with_noise(tokens: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(tokens.shape, generator=generator).to(tokens)
    noisy: Tensor = tokens + noise * tokens.norm(dim=2, keepdim=True) / tokens.shape[2] * _NOISE
    return noisy
