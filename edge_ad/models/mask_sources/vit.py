"""Self-attention of a pretrained Vision Transformer as the mask.

EAR takes DINO (Caron et al., 2021); FADeR's Table 2 compares it with a plain ViT (Dosovitskiy et al., 2021).
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import require
from edge_ad.models.mask_sources.base import MaskSource, top_mass
from edge_ad.models.mask_sources.vit_tokens import FixedTokens, patch_size, stride_of_patch

__all__ = ["VitAttention", "create_vit"]


def create_vit(config: dict[str, Any]) -> nn.Module:
    """A Vision Transformer of ``transformers`` with random weights, in eager attention and evaluation mode.

    Args:
        config: Its configuration as JSON data, with ``model_type``.
    """
    transformers = require("transformers", extra="dino")
    settings = transformers.AutoConfig.for_model(**config)
    settings._attn_implementation = "eager"  # the only one that gives the attention itself
    kind = transformers.MODEL_MAPPING[type(settings)]
    vit: nn.Module = kind(settings, **pooling_left_out(kind))
    return vit.eval().requires_grad_(False)


def pooling_left_out(kind: type[nn.Module]) -> dict[str, bool]:
    """What a class of ``transformers`` takes so as not to add a pooling layer, whose weights nothing uses here."""
    return {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind.__init__).parameters else {}


class VitAttention(MaskSource):
    """Attention of the class token to the patches, last block, heads averaged; the top share of its mass is masked.

    Tokens before the patches (class, distillation, registers) are no part of the map. A patch covers so many pixels as
    the next power of two: for patches of 14, the image is brought to 14 pixels for each 16.

    Args:
        config: Configuration of a Vision Transformer, as JSON data.
        grid_hw: Grid to bring the attention to, patches.
        mass: Share of the attention mass that is masked.
    """

    def __init__(self, config: dict[str, Any], grid_hw: tuple[int, int], mass: float = 0.6) -> None:
        super().__init__()
        self.vit = create_vit(config)
        self.grid_hw, self.mass = grid_hw, mass
        self.patch = patch_size(self.vit)
        self.register_buffer("pixel_mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.ones(1, 3, 1, 1))

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, 3, H, W) → attention (N, 1, h, w) on the grid, non-negative."""
        rows, columns = (side // stride_of_patch(self.patch) for side in images.shape[2:])
        pixels = (images - self.get_buffer("pixel_mean")) / self.get_buffer("pixel_std")
        if (rows * self.patch, columns * self.patch) != tuple(images.shape[2:]):
            size = (rows * self.patch, columns * self.patch)
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
        attention = self.attention(pixels)[:, :, :1, -rows * columns :].mean(1)
        return F.interpolate(attention.reshape(-1, 1, rows, columns), self.grid_hw, mode="nearest")

    def attention(self, pixels: Tensor) -> Tensor:
        """Standardised pixels (N, 3, H, W) → attention of the last block, (N, heads, tokens, tokens)."""
        wants_size = "interpolate_pos_encoding" in inspect.signature(self.vit.forward).parameters
        options = {"interpolate_pos_encoding": True} if wants_size else {}
        attention: Tensor = self.vit(pixels, output_attentions=True, **options).attentions[-1]
        return attention

    def cross_fitted(self, images: Tensor, features: Tensor | None, views: int = 0) -> Tensor:
        """Nothing is fitted; image by image, because the attention of every block is held in memory."""
        device = next(self.parameters()).device
        return torch.cat([self(image[None].to(device), None).cpu() for image in images])

    def binary(self, suspicion: Tensor) -> Tensor:
        """The patches with the top share of the attention."""
        return top_mass(suspicion, self.mass)

    def deployed(self, size_hw: tuple[int, int]) -> VitAttention:
        """With the tokens and positions that do not depend on the image as constants."""
        deployed = copy.deepcopy(self)
        side_hw = tuple(side // stride_of_patch(self.patch) * self.patch for side in size_hw)
        deployed.vit.embeddings = FixedTokens(deployed.vit.get_submodule("embeddings"), side_hw)
        return deployed
