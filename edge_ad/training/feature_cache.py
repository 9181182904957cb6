"""Backbone features on disk: the backbone is frozen and images do not change, so they are computed once.

A set of images is kept as one file, not image by image: an image's features differ in the last bit with the number of
images and threads they were computed with, and what comes from the cache is bit for bit what would be computed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_ad import __version__
from edge_ad.storage import cache_folder
from edge_ad.training.feature_files import (
    FILE_SUFFIX,
    byte_limit,
    exclusive,
    file_bytes,
    forget_unfinished,
    make_room,
    map_features,
    write_features,
)

__all__ = ["FeatureCache", "cached_features", "compute_features", "to_tensor"]

_BATCH = 8


def to_tensor(images: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """uint8 BGR (N, H, W, 3) → float32 RGB (N, 3, H, W) in [0, 1]."""
    rgb = torch.from_numpy(np.ascontiguousarray(images[..., ::-1])).to(device)
    return rgb.permute(0, 3, 1, 2).float() / 255.0


def compute_features(backbone: nn.Module, images: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """Features of uint8 BGR images (N, H, W, 3): float32 (N, C, h, w) on the CPU."""
    return _Batches(backbone, images, device).together()


def cached_features(backbone: nn.Module, images: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """As ``compute_features``, from the cache when the same weights have seen the same pixels."""
    return FeatureCache(backbone, device)(images)


class FeatureCache:
    """Features of a frozen backbone, computed or read from the user's disk.

    Files lie in ``$EDGE_AD_CACHE``, else in the user's cache folder, and take up to ``$EDGE_AD_CACHE_LIMIT``. Processes
    share them. No room and no permission cost time, not the training. A set that this object has given is not
    forgotten in favour of another: passing ones, such as painted defects, cannot drive out what comes again.

    Args:
        backbone: Float RGB (N, 3, H, W) in [0, 1] → (N, C, h, w); must not change.
        device: Where it is.
    """

    def __init__(self, backbone: nn.Module, device: torch.device | str = "cpu") -> None:
        self._backbone, self._device = backbone, device
        self._network = _network_digest(backbone)
        self._given: set[Path] = set()

    def __call__(self, images: NDArray[np.uint8]) -> Tensor:
        """As ``compute_features``; a set from disk is mapped, and writing to it does not reach the disk.

        Raises:
            UsageError: ``$EDGE_AD_CACHE_LIMIT`` is not a size.
        """
        batches, limit_bytes = _Batches(self._backbone, images, self._device), byte_limit()
        if not limit_bytes:
            return batches.together()
        path = _folder() / f"{self._key(images)}{FILE_SUFFIX}"
        features = self._read(path)
        if features is None:
            with suppress(OSError):
                features = self._store(path, batches, limit_bytes)
        return batches.together() if features is None else features

    def _key(self, images: NDArray[np.uint8]) -> str:
        runs_on = (torch.__version__, torch.get_num_threads(), torch.backends.cpu.get_cpu_capability(), self._device)
        digest = hashlib.sha256(f"{self._network} {runs_on} {images.shape}".encode())
        digest.update(np.ascontiguousarray(images).data)
        return digest.hexdigest()

    def _read(self, path: Path) -> Tensor | None:
        features = map_features(path)
        if features is not None:
            self._given.add(path)
            with suppress(OSError):  # a folder to read only
                os.utime(path)
        return features

    def _store(self, path: Path, batches: _Batches, limit_bytes: int) -> Tensor | None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(path.with_suffix(".lock")) as alone:
            features = self._read(path)  # computed while this process waited
            if features is not None:
                return features
            forget_unfinished(path.parent, path.stem if alone else None)
            shape, dtype = batches.shape, batches.first.dtype
            if not make_room(path.parent, file_bytes(shape, dtype), limit_bytes, self._given):
                return None
            features = write_features(path, shape, dtype, batches)
            self._given.add(path)
            return features


class _Batches:
    """Features of a set, batch after batch; the first is kept, because it tells the shape of all."""

    def __init__(self, backbone: nn.Module, images: NDArray[np.uint8], device: torch.device | str) -> None:
        self._backbone, self._images, self._device = backbone, images, device

    def __iter__(self) -> Iterator[Tensor]:
        yield self.first
        for start in range(_BATCH, len(self._images), _BATCH):
            yield self._compute(start)

    @cached_property
    def first(self) -> Tensor:
        return self._compute(0)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._images), *self.first.shape[1:])

    def together(self) -> Tensor:
        """In memory, once: joining a list of them would need the room twice."""
        features = torch.empty(self.shape, dtype=self.first.dtype)  # contiguous: sums differ over another layout
        for index, batch in enumerate(self):
            features[index * _BATCH : (index + 1) * _BATCH] = batch
        return features

    @torch.no_grad()
    def _compute(self, start: int) -> Tensor:
        features: Tensor = self._backbone(to_tensor(self._images[start : start + _BATCH], self._device))
        return features.cpu()


def _network_digest(backbone: nn.Module) -> str:
    digest = hashlib.sha256(f"{__version__} {type(backbone).__name__} {backbone}".encode())
    for name, tensor in sorted(backbone.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _folder() -> Path:
    return cache_folder() / "features"
