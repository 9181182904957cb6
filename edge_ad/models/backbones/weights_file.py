"""A local file of weights, read so that nothing in it is executed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_ad.errors import CheckpointError, UsageError, require

__all__ = ["read_weights"]

_HINT = "Save it with torch.save(model.state_dict(), 'weights.pth'), or as .safetensors."


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict.

    Args:
        path: ``.safetensors``, or anything that ``torch.save`` wrote.

    Raises:
        UsageError: There is no such file.
        CheckpointError: It cannot be read, or is not a state dict.
    """
    if not path.is_file():
        raise UsageError(f"There is no file of weights {path}.", "Give weights=imagenet or the path of a state dict.")
    try:
        content = _content(path)
    except Exception as error:  # a damaged file fails in the ways of pickle, zip and safetensors, which share no class
        raise CheckpointError(f"{path} cannot be read as weights.", _HINT) from error
    if not isinstance(content, dict) or not content or not all(isinstance(item, Tensor) for item in content.values()):
        raise CheckpointError(f"{path} is not a state dict.", _HINT)
    return content


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return require("safetensors.torch", extra="train").load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on formats that are refused here anyway
        return torch.load(path, map_location="cpu", weights_only=True)
