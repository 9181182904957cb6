"""Tiny Vision Transformers with random weights, in folders as ``save_pretrained`` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

__all__ = ["VITS", "save_vit"]

_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.5}
_MLP = {"intermediate_size": 32}
VITS: dict[str, dict[str, Any]] = {
    "ViT": {**_SIZES, **_MLP, "image_size": 32, "patch_size": 16},
    "DeiT": {**_SIZES, **_MLP, "image_size": 32, "patch_size": 16},
    "Dinov2": {**_SIZES, "image_size": 42, "patch_size": 14},
    "Dinov2WithRegisters": {**_SIZES, "image_size": 98, "patch_size": 14, "num_register_tokens": 3},
    "DINOv3ViT": {**_SIZES, **_MLP, "image_size": 64, "patch_size": 16, "num_register_tokens": 4},
}
"""Architecture → its configuration."""


def save_vit(folder: Path, architecture: str = "ViT", processor: dict[str, Any] | None = None) -> Path:
    """Draw a Vision Transformer and save it.

    Args:
        folder: To write to.
        architecture: From ``VITS``.
        processor: Configuration of its image processor; none is written otherwise.
    """
    import transformers

    config = getattr(transformers, f"{architecture}Config")(**VITS[architecture])
    torch.manual_seed(0)
    model = getattr(transformers, f"{architecture}Model")(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:  # every token differs from the others, so that a shift of one position shows
            torch.nn.init.normal_(parameter, std=0.4)
    model.save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder
