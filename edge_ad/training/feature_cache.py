"""Backbone features on disk: the backbone is frozen and images do not change, so they are computed once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_ad.errors import CheckpointError, StorageError
from edge_ad.training.checkpoints import load_tensors, save_tensors

__all__ = ["cached_features", "compute_features", "to_tensor"]

_BATCH = 8
_BYTES_KEPT = 4 << 30


def to_tensor(images: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """uint8 BGR (N, H, W, 3) → float32 RGB (N, 3, H, W) in [0, 1]."""
    rgb = torch.from_numpy(np.ascontiguousarray(images[..., ::-1])).to(device)
    return rgb.permute(0, 3, 1, 2).float() / 255.0


@torch.no_grad()
def compute_features(backbone: nn.Module, images: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """Features of uint8 BGR images (N, H, W, 3): float32 (N, C, h, w) on the CPU."""
    batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
    features = torch.cat([backbone(to_tensor(batch, device)).cpu() for batch in batches])
    return features.contiguous()  # as the cache gives them back: sums over another layout differ in the last bit


def cached_features(backbone: nn.Module, images: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """As ``compute_features``, from the cache when the same weights have seen the same pixels.

    The cache lies in ``$EDGE_AD_CACHE``, else in the user's cache folder, and keeps the newest 4 GiB. A disk without
    room for it costs time, not the training.
    """
    path = _folder() / f"{_key(backbone, images, str(device))}.safetensors"
    if path.is_file():
        with suppress(CheckpointError, KeyError):
            features = load_tensors(path)[0]["features"]
            path.touch()
            return features
    features = compute_features(backbone, images, device)
    with suppress(StorageError):
        save_tensors(path, {"features": features}, {})
        _forget_oldest(path.parent)
    return features


def _key(backbone: nn.Module, images: NDArray[np.uint8], device: str) -> str:
    digest = hashlib.sha256(f"{torch.__version__} {device} {type(backbone).__name__} {images.shape}".encode())
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    digest.update(np.ascontiguousarray(images).tobytes())
    return digest.hexdigest()


def _folder() -> Path:
    chosen = os.environ.get("EDGE_AD_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(chosen) if chosen else base / "edge-ad") / "features"


def _forget_oldest(folder: Path) -> None:
    files: Iterable[Path] = sorted(folder.glob("*.safetensors"), key=lambda path: -path.stat().st_mtime)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > _BYTES_KEPT:
            with suppress(OSError):
                path.unlink()
