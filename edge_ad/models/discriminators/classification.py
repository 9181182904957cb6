"""SuperSimpleNet's classification head: one score for an image, from its features and its map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ClassificationHead"]

_KERNEL = 5
_POOLS = 2  # maximum and mean


class ClassificationHead(nn.Module):
    """A 5 x 5 convolution over features and map; its maxima and means, and those of the map, give a logit.

    Args:
        channels: Feature channels C.
        width: Channels of the convolution.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels + 1, width, _KERNEL, padding=_KERNEL // 2)
        self.norm = nn.BatchNorm2d(width)
        self.activation = nn.ReLU()
        self.out = nn.Linear(_POOLS * (width + 1), 1)
        self.requires_grad_(False)

    def start(self, seed: int) -> None:
        """Draw new weights (Xavier, normal), as a run with this seed begins."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in (self.convolution, self.norm, self.out):
                module.reset_parameters()
            for layer in (self.convolution, self.out):
                nn.init.xavier_normal_(layer.weight)

    def forward(self, features: Tensor, anomaly_map: Tensor) -> Tensor:
        """Features (N, C, h, w) and logits of their positions (N, 1, h, w) → logits of the images (N,)."""
        convolved = self.activation(self.norm(self.convolution(torch.cat([features, anomaly_map], dim=1))))
        pooled = [pool for part in (convolved, anomaly_map) for pool in (part.amax((2, 3)), part.mean((2, 3)))]
        score: Tensor = self.out(torch.cat(pooled, dim=1))
        return score.squeeze(1)
