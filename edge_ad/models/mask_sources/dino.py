"""EAR's own mask: self-attention of a DINO Vision Transformer (Caron et al. 2021)."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError, require
from edge_ad.models.mask_sources.base import MaskSource, top_mass

__all__ = ["DinoAttention", "load_dino"]

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def load_dino(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a ViT from a hub name or a local folder.

    Args:
        name: Such as ``facebook/dino-vits8``, or a folder written by ``save_pretrained``.

    Returns:
        Its configuration as JSON data, and the state of a `DinoAttention`, so that a run needs neither afterwards.

    Raises:
        UsageError: Nothing can be loaded from there, or it is not a ViT.
    """
    transformers = require("transformers", extra="dino")
    failure = UsageError(
        f"The ViT {name!r} cannot be loaded.", "Give the parameter mask_model a hub name or a folder with its files."
    )
    try:
        model, info = transformers.ViTModel.from_pretrained(name, add_pooling_layer=False, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise failure from error
    if info["missing_keys"]:  # another architecture's weights would leave the ViT at random ones, silently
        raise failure
    config: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=False))
    config.pop("_name_or_path", None)  # a folder of this machine has no place in a run
    state = {f"vit.{name}": tensor for name, tensor in model.state_dict().items()}
    return config, {**state, "pixel_mean": _as_pixel(_IMAGENET_MEAN), "pixel_std": _as_pixel(_IMAGENET_STD)}


class DinoAttention(MaskSource):
    """Attention of the class token to the patches, last block, heads averaged; the top share of its mass is masked.

    Args:
        config: Configuration of a transformers ``ViTModel``.
        mass: Share of the attention mass that is masked.
        grid_hw: Grid to bring the attention to, patches.
    """

    def __init__(self, config: dict[str, Any], grid_hw: tuple[int, int], mass: float = 0.6) -> None:
        super().__init__()
        transformers = require("transformers", extra="dino")
        settings = transformers.ViTConfig(**{**config, "attn_implementation": "eager"})
        self.vit = transformers.ViTModel(settings, add_pooling_layer=False).eval().requires_grad_(False)
        self.grid_hw, self.mass, self.patch = grid_hw, mass, settings.patch_size
        self.register_buffer("pixel_mean", _as_pixel(_IMAGENET_MEAN))
        self.register_buffer("pixel_std", _as_pixel(_IMAGENET_STD))

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, 3, H, W) → attention (N, 1, h, w) on the grid, non-negative."""
        pixels = (images - self.get_buffer("pixel_mean")) / self.get_buffer("pixel_std")
        outputs = self.vit(pixels, output_attentions=True, interpolate_pos_encoding=True)
        attention = outputs.attentions[-1][:, :, 0, 1:].mean(1)
        own_grid = (images.shape[2] // self.patch, images.shape[3] // self.patch)
        return F.interpolate(attention.unflatten(1, (1, *own_grid)), self.grid_hw, mode="nearest")

    def cross_fitted(self, images: Tensor, features: Tensor | None, views: int = 0) -> Tensor:
        """Nothing is fitted; image by image, because the attention of every block is held in memory."""
        return torch.cat([self(image[None], None) for image in images])

    def binary(self, suspicion: Tensor) -> Tensor:
        """The patches with the top share of the attention."""
        return top_mass(suspicion, self.mass)


def _as_pixel(channels: tuple[float, float, float]) -> Tensor:
    return torch.tensor(channels)[None, :, None, None]
