"""Room on disk: a limit for all sets together, kept by forgetting those whose last use is longest ago."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge_ad.errors import UsageError
from edge_ad.training.features.feature_file import FILE_SUFFIX, UNFINISHED_SUFFIX

__all__ = ["byte_limit", "forget_unfinished", "make_room"]

_VARIABLE = "EDGE_AD_CACHE_LIMIT"
_DEFAULT_BYTES = 4 << 30
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([KMGT]?)(?:I?B)?")
_SETS = {FILE_SUFFIX, ".safetensors"}  # edge-ad 0.1.0 wrote the latter
_NAME = re.compile(r"[0-9a-f]{64}(-[0-9a-f]{8})?")  # nothing else in the folder is ours
_ABANDONED_S = 3600.0


class _File(NamedTuple):
    path: Path
    size: int
    used_at: float


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


def make_room(folder: Path, needed_bytes: int, limit_bytes: int, in_use: Collection[Path]) -> bool:
    """Forget sets, oldest use first, until ``needed_bytes`` more are within the limit.

    Another process that has mapped a forgotten set keeps it until it ends.

    Args:
        folder: Where the sets are.
        needed_bytes: Size of the file to come.
        limit_bytes: For all files together, unfinished ones included.
        in_use: Sets to keep.

    Returns:
        Whether there is room. Nothing is forgotten when that would not be enough.
    """
    files = sorted(_files(folder), key=lambda file: file.used_at)
    excess = sum(file.size for file in files) + needed_bytes - limit_bytes
    old = [file for file in files if file.path.suffix in _SETS and file.path not in in_use]
    if excess > sum(file.size for file in old):
        return False
    for file in old:
        if excess <= 0:
            break
        with suppress(OSError):  # Windows: somebody has it mapped
            file.path.unlink(missing_ok=True)
            excess -= file.size
    return excess <= 0


def forget_unfinished(folder: Path, locked_stem: str | None) -> None:
    """Remove what killed processes left: at once where the lock of ``locked_stem`` is held, else after an hour."""
    for file in _files(folder):
        ours = locked_stem is not None and file.path.name.startswith(locked_stem)
        if file.path.suffix == UNFINISHED_SUFFIX and (ours or time.time() - file.used_at > _ABANDONED_S):
            with suppress(OSError):
                file.path.unlink()


def _files(folder: Path) -> Iterator[_File]:
    for path in folder.iterdir():
        if _NAME.fullmatch(path.stem) and path.suffix in {*_SETS, UNFINISHED_SUFFIX}:
            with suppress(FileNotFoundError):  # forgotten by another process
                status = path.stat()
                yield _File(path, status.st_size, status.st_mtime)
