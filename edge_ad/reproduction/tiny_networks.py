"""Networks of the hub with a few random weights, to try a table out without a network and without a wait."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from edge_ad.errors import require
from edge_ad.reproduction.recipes import QUICK_SIZE

__all__ = ["tiny_clip", "tiny_vit"]

_SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def tiny_vit(folder: Path) -> Path:
    """A Vision Transformer as a folder that mask sources read, made where there is none."""
    if not (folder / "model.safetensors").is_file():
        transformers = _transformers()
        config = transformers.ViTConfig(**_SIZES, image_size=QUICK_SIZE, patch_size=8)
        transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def tiny_clip(folder: Path) -> Path:
    """CLIP, with a tokenizer that knows letters alone, as a folder that WinCLIP reads, made where there is none."""
    if not (folder / "model.safetensors").is_file():
        transformers = _transformers()
        words = _save_tokenizer(folder)
        text = {**_SIZES, "vocab_size": words, "max_position_embeddings": 77, "eos_token_id": words - 1}
        vision = {**_SIZES, "image_size": QUICK_SIZE, "patch_size": 16}
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        transformers.CLIPModel(config).save_pretrained(folder)
    return folder


def _save_tokenizer(folder: Path) -> int:
    """Save it; how many words it knows."""
    letters = [*map(chr, range(ord("a"), ord("z") + 1)), "-", "."]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    known, merges = folder / "vocab.json", folder / "merges.txt"
    known.write_text(json.dumps({word: number for number, word in enumerate(words)}), encoding="utf-8")
    merges.write_text("#version: 0.2\n", encoding="utf-8")
    _transformers().CLIPTokenizer(str(known), str(merges)).save_pretrained(folder)
    return len(words)


def _transformers() -> Any:
    torch.manual_seed(0)
    return require("transformers", extra="dino")
