"""Tiny Vision Transformers with random weights, in folders as ``save_pretrained`` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

__all__ = ["VITS", "networks", "save_clip", "save_vit"]

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


def save_clip(folder: Path, *, patch: int = 16) -> Path:
    """Draw CLIP, with a tokenizer that knows letters alone, and save both.

    Args:
        folder: To write to.
        patch: Side of the image tower's patches, pixels.
    """
    import transformers

    letters = [*map(chr, range(ord("a"), ord("z") + 1)), "-", "."]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    vision = {**sizes, "image_size": 2 * patch, "patch_size": patch}
    text = {**sizes, "vocab_size": len(words), "max_position_embeddings": 77, "eos_token_id": len(words) - 1}
    torch.manual_seed(0)
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    model.save_pretrained(folder)
    return folder


def networks(method: str, folder: Path) -> dict[str, str]:
    """Parameters of a method that name networks of the hub, naming tiny ones in a folder instead."""
    return {"clip_model": str(save_clip(folder / "clip"))} if method == "winclip" else {}
