"""Checkpoints: tensors only (safetensors), written atomically, so that a kill leaves the last one whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edge_ad.errors import CheckpointError, require
from edge_ad.storage import write_file

__all__ = ["Progress", "load_tensors", "restore_training", "save_tensors", "training_tensors"]

_DETECTOR = "detector."
_OPTIMISER = "optimiser."
_HASH = "sha256"


class Progress(NamedTuple):
    """How far a training is: ``epoch`` epochs of stage ``stage`` are done."""

    stage: int
    epoch: int


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write tensors, a few strings, and a hash over all of it.

    Returns:
        SHA-256 of the file.

    Raises:
        StorageError: The file cannot be written; an older one is untouched.
    """
    safetensors = require("safetensors.torch", extra="train")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = safetensors.save(plain, metadata={**metadata, _HASH: _hash(plain, metadata)})
    write_file(path, content)
    return hashlib.sha256(content).hexdigest()


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what ``save_tensors`` wrote; in a file of an edge-ad that wrote no hash, none is checked.

    Raises:
        CheckpointError: Missing, damaged or changed.
    """
    safetensors = require("safetensors", extra="train")
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}.", "Train again, or name another run.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"The checkpoint {path} is damaged ({error}).", "Train again.") from error
    recorded = metadata.pop(_HASH, None)
    if recorded is not None and recorded != _hash(tensors, metadata):
        raise CheckpointError(
            f"The checkpoint {path} was changed or damaged: it does not have the SHA-256 it was written with.",
            "Copy it again from where it is whole, or train again.",
        )
    return tensors, metadata


def training_tensors(detector: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything that changes in training, copied: later steps do not reach into it."""
    tensors = {_DETECTOR + name: tensor.detach().clone() for name, tensor in detector.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            tensors[f"{_OPTIMISER}{index}.{name}"] = torch.as_tensor(value).detach().clone()
    return tensors


def restore_training(
    tensors: Mapping[str, Tensor], detector: nn.Module, optimiser: torch.optim.Optimizer | None
) -> None:
    """Put ``training_tensors`` back; without an optimiser only the detector.

    Raises:
        CheckpointError: The tensors belong to another architecture.
    """
    state = {name.removeprefix(_DETECTOR): value for name, value in tensors.items() if name.startswith(_DETECTOR)}
    try:
        detector.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"The checkpoint belongs to another architecture: {problem}") from error
    if optimiser is not None:
        _restore_optimiser(tensors, optimiser)


def _hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over names, types, shapes and values, and over the strings."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _restore_optimiser(tensors: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith(_OPTIMISER):
            index, key = name.removeprefix(_OPTIMISER).split(".", 1)
            state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
