"""Pretrained networks of mask sources, from the hub or a folder of ``save_pretrained``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from edge_ad.errors import UsageError, require
from edge_ad.models.mask_sources.vit import VitAttention, pooling_left_out

__all__ = ["CLIP_PIXELS", "IMAGENET_PIXELS", "PLAIN_PIXELS", "Pixels", "config_data", "pixel_statistics", "read_vit"]

Pixels = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each colour, of RGB in [0, 1]."""

IMAGENET_PIXELS: Pixels = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN_PIXELS: Pixels = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP_PIXELS: Pixels = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

_EIGHT_BITS = 255.0


def read_vit(name: str, pixels: Pixels) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a Vision Transformer.

    Args:
        name: Such as ``facebook/dino-vits8``, or a folder written by ``save_pretrained``.
        pixels: Mean and deviation where no configuration of its image processor says them.

    Returns:
        Its configuration as JSON data, and the state of a `VitAttention`, so that a run needs neither afterwards.

    Raises:
        UsageError: Nothing can be loaded from there, or it has no attention of a class token.
    """
    transformers = require("transformers", extra="dino")
    failure = UsageError(
        f"{name!r} cannot be loaded as a Vision Transformer whose attention can be seen.",
        "Give the parameter mask_model a hub name or a folder with its files, such as facebook/dino-vits8.",
    )
    try:
        kind = transformers.MODEL_MAPPING[type(transformers.AutoConfig.from_pretrained(name))]
        vit, info = kind.from_pretrained(name, **pooling_left_out(kind), output_loading_info=True)
        config = config_data(vit)
        state = {f"vit.{key}": tensor for key, tensor in vit.state_dict().items()} | pixel_statistics(name, pixels)
        if info["missing_keys"]:  # another architecture's weights would leave it at random ones, silently
            raise failure
        _check_attention(config, state)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        raise failure from error
    return config, state


def config_data(model: Any) -> dict[str, Any]:
    """Configuration of a model of ``transformers`` as JSON data, without where it was read from."""
    config: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=False))
    config.pop("_name_or_path", None)  # a folder of this machine has no place in a run
    return config


def pixel_statistics(name: str, otherwise: Pixels) -> dict[str, Tensor]:
    """Mean and deviation that a model's image processor subtracts and divides by, for RGB in [0, 1].

    Args:
        name: Hub name or folder.
        otherwise: What to take where it has no configuration of an image processor.

    Returns:
        ``pixel_mean`` and ``pixel_std``, (1, 3, 1, 1).
    """
    transformers = require("transformers", extra="dino")
    try:
        known, _ = transformers.ImageProcessingMixin.get_image_processor_dict(name)
    except OSError:  # there is none
        known = {}
    mean, std = known.get("image_mean", otherwise[0]), known.get("image_std", otherwise[1])
    if not known.get("do_normalize", True):
        mean, std = (0.0,) * 3, (1.0,) * 3
    factor = known.get("rescale_factor", 1 / _EIGHT_BITS) if known.get("do_rescale", True) else 1.0
    scale = _EIGHT_BITS * float(factor)
    return {"pixel_mean": _as_pixel(mean) / scale, "pixel_std": _as_pixel(std) / scale}


def _as_pixel(channels: Sequence[float]) -> Tensor:
    return torch.tensor(list(channels))[None, :, None, None]


def _check_attention(config: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Look at a small image, in both forms.

    Raises:
        ValueError: There is no attention of a class token, or no such form.
    """
    source = VitAttention(config, (4, 4))
    source.load_state_dict(state)
    images = torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    with torch.no_grad():
        seen, deployed = source(images, None), source.deployed((64, 64))(images, None)
    if not torch.allclose(seen, deployed, atol=1e-4):
        raise ValueError("the exported form sees another attention")
