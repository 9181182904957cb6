"""Backbone features on disk: the backbone is frozen and images do not change, so they are computed once.

A set of images is kept as one file, not image by image: an image's features differ in the last bit with the number of
images and threads they were computed with, and what comes from the cache is bit for bit what would be computed.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_ad import __version__
from edge_ad.errors import UsageError
from edge_ad.storage import cache_folder, one_at_a_time

__all__ = ["FeatureCache", "byte_limit", "cached_features", "compute_features", "make_room", "to_tensor"]

_BATCH = 8
_MOST_PIXELS = _BATCH * 512 * 512  # of a batch: large pictures would fill the memory
_SUFFIX, _UNFINISHED, _LOCK = ".npy", ".partial", ".lock"
_PASSING = (_UNFINISHED, _LOCK)  # what a process takes away itself, unless it is killed
# Nothing else there is ours.
_NAME = re.compile(r"[0-9a-f]{64}(\.(npy|features|safetensors|lock)|-[0-9a-f]{8}\.partial)")
_ABANDONED_S = 3600.0
_KEPT_TYPES = {torch.float16, torch.float32, torch.float64}  # NumPy has no bfloat16
_NO_ARRAY = (OSError, ValueError, TypeError, SyntaxError, TokenError)  # what NumPy raises for a damaged header

_PLAIN = (bool, int, float, str, tuple)

_VARIABLE = "EDGE_AD_CACHE_LIMIT"
_DEFAULT_BYTES = 4 << 30
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([KMGT]?)(?:I?B)?")


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

    A set is one ``.npy`` file in ``$EDGE_AD_CACHE``, else in the user's cache folder; together they take up to
    ``$EDGE_AD_CACHE_LIMIT``. Processes share them: of two that need a set at the same time one computes it and the
    other waits, where the disk has locks. A file appears only when it is whole. No room and no permission cost time,
    not the training. A set that this object has given is not deleted in favour of another, so sets that are used once,
    such as painted defects, cannot drive out what comes again.

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
        path = cache_folder() / "features" / f"{self._key(images)}{_SUFFIX}"
        features = _map(path)
        if features is None:
            with suppress(OSError), _computed_once(path):
                features = _map(path)  # by another process that was waited for
                if features is None:
                    features = self._store(path, batches, limit_bytes)
        if features is None:
            return batches.together()
        self._given.add(path)
        with suppress(OSError):  # a folder to read only
            os.utime(path)
        return features

    def _key(self, images: NDArray[np.uint8]) -> str:
        runs_on = (torch.__version__, torch.get_num_threads(), torch.backends.cpu.get_cpu_capability(), self._device)
        digest = hashlib.sha256(f"{self._network} {runs_on} {images.shape}".encode())
        digest.update(np.ascontiguousarray(images).data)
        return digest.hexdigest()

    def _store(self, path: Path, batches: _Batches, limit_bytes: int) -> Tensor | None:
        if batches.first.dtype not in _KEPT_TYPES:
            return None
        header = _header(batches.shape, batches.first.numpy().dtype)
        size = len(header) + len(batches) * batches.first[0].nbytes
        if not make_room(path.parent, size, limit_bytes, self._given):
            return None
        _write(path, header, size, batches)
        return _map(path)


class _Batches:
    """Features of a set, batch after batch; the first is kept, because it tells the shape of all."""

    def __init__(self, backbone: nn.Module, images: NDArray[np.uint8], device: torch.device | str) -> None:
        self._backbone, self._images, self._device = backbone, images, device
        self._batch = max(1, min(_BATCH, _MOST_PIXELS // max(1, images.shape[1] * images.shape[2])))

    def __iter__(self) -> Iterator[Tensor]:
        yield self.first
        for start in range(self._batch, len(self._images), self._batch):
            yield self._compute(start)

    def __len__(self) -> int:
        return len(self._images)

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
            features[index * self._batch : (index + 1) * self._batch] = batch
        return features

    @torch.no_grad()
    def _compute(self, start: int) -> Tensor:
        features: Tensor = self._backbone(to_tensor(self._images[start : start + self._batch], self._device))
        return features.cpu()


@contextmanager
def _computed_once(path: Path) -> Iterator[None]:
    """Of processes that need a set at the same time, one at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(_LOCK)
    lock.touch()
    with one_at_a_time(lock, quietly=True):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # who waits holds the file itself, and finds the set


def _network_digest(backbone: nn.Module) -> str:
    """Hash of its modules, of the plain values that they hold (which levels, how they are tiled) and of its weights."""
    digest = hashlib.sha256(f"{__version__} {type(backbone).__name__} {backbone}".encode())
    for name, module in backbone.named_modules():
        plain = {key: value for key, value in vars(module).items() if isinstance(value, _PLAIN)}
        digest.update(f"{name} {sorted(plain.items())}".encode())
    for name, tensor in sorted(backbone.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    file = BytesIO()
    kind = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, kind)
    return file.getvalue()


def _write(path: Path, header: bytes, size: int, batches: Iterable[Tensor]) -> None:
    """Write batch after batch, so that the set is never in memory as a whole; the file is there whole or not at all."""
    staged = path.with_name(f"{path.stem}-{secrets.token_hex(4)}{_UNFINISHED}")
    try:
        with staged.open("xb") as file:
            _reserve(file.fileno(), size)
            file.write(header)
            for batch in batches:
                file.write(batch.contiguous().numpy().data)
            if file.tell() != size:
                raise ValueError("the backbone gave batches of different shapes")
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except BaseException:
        with suppress(OSError):
            staged.unlink()
        raise


def _reserve(descriptor: int, size: int) -> None:
    """Take the space now: a full disk is noticed before more is computed, and others see what will be used."""
    os.truncate(descriptor, size)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


def _map(path: Path) -> Tensor | None:
    """The set in a file, mapped; None when the file is missing, cut short or something else."""
    with suppress(*_NO_ARRAY):
        values = np.lib.format.open_memmap(path, mode="c")
        whole = values.offset + values.nbytes == path.stat().st_size
        if whole and values.dtype.kind == "f" and values.flags.c_contiguous:
            return torch.from_numpy(values)
    return None


def byte_limit() -> int:
    """Bytes that the sets on disk may take: ``$EDGE_AD_CACHE_LIMIT``, such as 4G, 500M or 0; 4 GiB if not given.

    Raises:
        UsageError: The variable is not a size.
    """
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return _DEFAULT_BYTES
    match = _SIZE.fullmatch(text.upper())
    if match is None:
        raise UsageError(
            f"{_VARIABLE}={text} is not a size.",
            "Give bytes, or a number with K, M, G or T such as 4G; 0 keeps no features.",
        )
    return int(float(match[1]) * (1 << _UNITS[match[2]]))


class _File(NamedTuple):
    used_at: float
    size: int
    path: Path


def make_room(folder: Path, needed_bytes: int, limit_bytes: int, in_use: Collection[Path]) -> bool:
    """Delete sets, oldest use first, until ``needed_bytes`` more are within the limit.

    What a killed process left unfinished goes an hour after its last write. Another process that has mapped a deleted
    set keeps it until it ends.

    Args:
        folder: Where the sets are.
        needed_bytes: Size of the file to come.
        limit_bytes: For all files together, unfinished ones included.
        in_use: Sets to keep.

    Returns:
        Whether there is room. Nothing is deleted when that would not be enough.
    """
    files = sorted(_files(folder))
    excess = sum(file.size for file in files) + needed_bytes - limit_bytes
    old = [file for file in files if file.path not in in_use and not _is_being_written(file)]
    if excess > sum(file.size for file in old):
        return False
    for file in old:
        if excess > 0 or file.path.suffix in _PASSING:
            with suppress(OSError):  # Windows: somebody has it mapped
                file.path.unlink(missing_ok=True)
                excess -= file.size
    return excess <= 0


def _is_being_written(file: _File) -> bool:
    return file.path.suffix in _PASSING and time.time() - file.used_at <= _ABANDONED_S


def _files(folder: Path) -> Iterator[_File]:
    for path in folder.iterdir():
        if _NAME.fullmatch(path.name):
            with suppress(FileNotFoundError):  # deleted by another process
                status = path.stat()
                yield _File(status.st_mtime, status.st_size, path)
