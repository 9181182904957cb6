"""CLIP's image tower, and the texts of the prompt ensemble as two vectors: all that WinCLIP needs of CLIP."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError, require
from edge_ad.models.mask_sources.pretrained import CLIP_PIXELS, pixel_statistics
from edge_ad.models.winclip.prompts import ANOMALOUS_STATES, NORMAL_STATES, prompts

__all__ = ["DEFAULT_CLIP", "read_clip", "text_features"]

DEFAULT_CLIP = "openai/clip-vit-base-patch16"


def read_clip(name: str, part: str, parameter: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read CLIP, and embed the prompts.

    Args:
        name: Such as ``openai/clip-vit-base-patch16``, or a folder with model and tokenizer by ``save_pretrained``.
        part: What the photos show, in words.
        parameter: Parameter that the name was given by, for errors.

    Returns:
        The image tower's configuration as JSON data, and the state of a `WindowScores`: no run needs the text tower or
        the tokenizer.

    Raises:
        UsageError: Nothing can be loaded from there, or it is no CLIP.
    """
    transformers = require("transformers", extra="dino")
    failure = UsageError(
        f"CLIP cannot be loaded from {name!r}.",
        f"Give the parameter {parameter} a hub name such as {DEFAULT_CLIP}, or a folder with model and tokenizer.",
    )
    try:
        model, info = transformers.CLIPModel.from_pretrained(name, output_loading_info=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        if info["missing_keys"]:  # another architecture's weights would leave it at random ones, silently
            raise failure
        if len(tokenizer) != model.config.text_config.vocab_size:  # one is made up where the folder has none
            raise failure
        texts = text_features(model.eval(), tokenizer, part)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        raise failure from error
    config: dict[str, Any] = transformers.CLIPVisionConfig.from_dict(
        {**model.config.vision_config.to_dict(), "projection_dim": model.config.projection_dim}
    ).to_diff_dict()
    return config, {**_image_tower(model), "texts": texts, **pixel_statistics(name, CLIP_PIXELS)}


@torch.no_grad()
def text_features(model: Any, tokenizer: Any, part: str) -> Tensor:
    """Mean embedding of the normal and of the anomalous prompts, each of length 1, (2, C).

    Args:
        model: A ``CLIPModel``.
        tokenizer: Its tokenizer.
        part: What the photos show, in words.
    """
    longest, means = model.config.text_config.max_position_embeddings, []
    for states in (NORMAL_STATES, ANOMALOUS_STATES):
        tokens = tokenizer(
            prompts(states, part), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        pooled = model.text_model(tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
        means.append(model.text_projection(pooled).mean(0))
    return F.normalize(torch.stack(means), dim=1)


def _image_tower(model: Any) -> dict[str, Tensor]:
    weights = {f"vision.vision_model.{name}": tensor for name, tensor in model.vision_model.state_dict().items()}
    return {**weights, "vision.visual_projection.weight": model.visual_projection.weight.detach()}
