"""CLIP's zero-shot score of a photo and of its windows, and their harmonic means."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import require
from edge_ad.models.mask_sources.vit_tokens import FixedTokens, patch_size, stride_of_patch

__all__ = ["SCALES", "TEMPERATURE", "ClipScores", "WindowScores", "harmonic_aggregation", "window_tokens"]

SCALES = (2, 3)
"""Sides of the windows, patches."""
TEMPERATURE = 0.07


class ClipScores(NamedTuple):
    """What `WindowScores` finds.

    Attributes:
        photo: Probability that the photo shows an anomaly, (N,) in (0, 1).
        patches: Harmonic mean of the scores of all scales at each patch, (N, 1, h, w) in (0, 1).
    """

    photo: Tensor
    patches: Tensor


class WindowScores(nn.Module):
    """WinCLIP without reference photos.

    ``s(x) = softmax(<f(x), t> / 0.07)`` of the anomalous text, for ``x`` the photo and each window of 2×2 and of 3×3
    patches; a window is encoded from the tokens of its patches and the class token alone.

    Args:
        config: Configuration of CLIP's image tower, as JSON data.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        transformers = require("transformers", extra="dino")
        settings = transformers.CLIPVisionConfig(**config)
        settings._attn_implementation = "eager"
        self.vision = transformers.CLIPVisionModelWithProjection(settings).eval().requires_grad_(False)
        self.patch = patch_size(self.vision)
        self.register_buffer("texts", torch.zeros(2, settings.projection_dim))
        self.register_buffer("pixel_mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.ones(1, 3, 1, 1))

    def forward(self, images: Tensor) -> ClipScores:
        """Score images, float RGB (N, 3, H, W) in [0, 1]."""
        rows, columns = (side // stride_of_patch(self.patch) for side in images.shape[2:])
        tokens = self._tokens(images, rows, columns)
        photo = self._score(tokens[:, None])
        scales = [photo[:, :, None, None]]
        for side in SCALES:
            scores = self._score(window_tokens(tokens, (rows, columns), side))
            grid = scores.reshape(-1, 1, rows - side + 1, columns - side + 1)
            scales.append(harmonic_aggregation(grid, side))
        return ClipScores(photo.squeeze(1), len(scales) / sum((1 / scale for scale in scales[1:]), 1 / scales[0]))

    def _tokens(self, images: Tensor, rows: int, columns: int) -> Tensor:
        """Images → tokens after the first layer norm, (N, 1 + h·w, C)."""
        pixels = (images - self.get_buffer("pixel_mean")) / self.get_buffer("pixel_std")
        size = (rows * self.patch, columns * self.patch)
        if size != tuple(images.shape[2:]):
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
        model = self.vision.vision_model
        tokens: Tensor = model.pre_layrnorm(model.embeddings(pixels, interpolate_pos_encoding=True))
        return tokens

    def _score(self, windows: Tensor) -> Tensor:
        """Tokens (N, W, T, C), the class token first → probability of an anomaly, (N, W)."""
        model = self.vision.vision_model
        *layers, last = model.encoder.layers
        for layer in layers:
            windows = _block(layer, windows, windows.shape[2])
        class_token = model.post_layernorm(_block(last, windows, 1)).squeeze(2)
        embedding = self.vision.visual_projection(class_token)
        embedding = embedding / embedding.square().sum(2, keepdim=True).sqrt()
        normal, anomalous = self.get_buffer("texts")[:1], self.get_buffer("texts")[1:]
        probability: Tensor = torch.sigmoid(embedding @ (anomalous - normal).T / TEMPERATURE)  # a softmax of two
        return probability.squeeze(2)

    def deployed(self, size_hw: tuple[int, int]) -> WindowScores:
        """With the tokens and positions that do not depend on the image as constants."""
        deployed = copy.deepcopy(self)
        side_hw = tuple(side // stride_of_patch(self.patch) * self.patch for side in size_hw)
        model = deployed.vision.vision_model
        model.embeddings = FixedTokens(model.embeddings, side_hw)
        return deployed


def window_tokens(tokens: Tensor, grid_hw: tuple[int, int], side: int) -> Tensor:
    """The tokens of each window and the class token: (N, 1 + h·w, C) → (N, W, 1 + side², C), windows by rows."""
    rows, columns = grid_hw
    down, across = rows - side + 1, columns - side + 1
    patches = tokens[:, 1:].reshape(-1, rows, columns, tokens.shape[2])
    # Slices, not an index: a Gather is slow in some backends and refused by others.
    parts = [patches[:, i : i + down, j : j + across] for i in range(side) for j in range(side)]
    flat = [part.reshape(-1, down * across, 1, tokens.shape[2]) for part in parts]
    room = torch.zeros(1, down * across, 1, 1, device=tokens.device)
    return torch.cat([tokens[:, None, :1] + room, *flat], dim=2)


def harmonic_aggregation(scores: Tensor, side: int) -> Tensor:
    """Harmonic mean, at each patch, of the scores of all windows that it belongs to.

    Args:
        scores: Of windows by their first row and column, (N, 1, h - side + 1, w - side + 1), positive.
        side: Of a window, patches.

    Returns:
        (N, 1, h, w).
    """
    ones = torch.ones(1, 1, side, side, device=scores.device)
    counts = F.conv2d(torch.ones(1, *scores.shape[1:], device=scores.device), ones, padding=side - 1)
    return counts / F.conv2d(1 / scores, ones, padding=side - 1)


def _block(layer: Any, tokens: Tensor, queries: int) -> Tensor:
    """A block of CLIP's encoder on windows: (N, W, T, C) → (N, W, queries, C), the first of the tokens."""
    attention, normed = layer.self_attn, layer.layer_norm1(tokens)
    shape = (tokens.shape[0], tokens.shape[1], -1, attention.num_heads, attention.head_dim)
    query, key, value = (
        part.reshape(shape).transpose(2, 3)
        for part in (attention.q_proj(normed[:, :, :queries]), attention.k_proj(normed), attention.v_proj(normed))
    )
    weights = (query @ key.transpose(3, 4) * attention.scale).softmax(-1)
    mixed = (weights @ value).transpose(2, 3).reshape(tokens.shape[0], tokens.shape[1], queries, -1)
    tokens = tokens[:, :, :queries] + attention.out_proj(mixed)
    result: Tensor = tokens + layer.mlp(layer.layer_norm2(tokens))
    return result
