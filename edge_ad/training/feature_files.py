"""Files of cached features: written whole or not at all, locked by one process, and within a limit."""

from __future__ import annotations

import math
import mmap
import os
import re
import secrets
import sys
import time
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from edge_ad.errors import UsageError
from edge_ad.manifest import Document

__all__ = [
    "FILE_SUFFIX",
    "UNFINISHED_SUFFIX",
    "byte_limit",
    "exclusive",
    "file_bytes",
    "forget_unfinished",
    "make_room",
    "map_features",
    "write_features",
]

FILE_SUFFIX = ".features"
UNFINISHED_SUFFIX = ".partial"

_MAGIC = b"edge-ad features 1\n"
_PAGE_BYTES = 4096  # keeps the values aligned
_CHUNK_BYTES = 1 << 20
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
if sys.platform != "win32":
    import fcntl


_POLL_S = 0.1
_PATIENCE_S = 120.0
_VARIABLE = "EDGE_AD_CACHE_LIMIT"
_DEFAULT_BYTES = 4 << 30
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([KMGT]?)(?:I?B)?")
_SETS = {FILE_SUFFIX, ".safetensors"}  # edge-ad 0.1.0 wrote the latter
_NAME = re.compile(r"[0-9a-f]{64}(-[0-9a-f]{8})?")  # nothing else in the folder is ours
_ABANDONED_S = 3600.0


class _Header(Document):
    shape: tuple[PositiveInt, ...] = Field(min_length=1, max_length=8)
    dtype: Literal["float16", "bfloat16", "float32", "float64"]
    crc32: int

    def values_bytes(self) -> int:
        return math.prod(self.shape) * _DTYPES[self.dtype].itemsize


def file_bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Size of the file of features of this shape."""
    return _PAGE_BYTES + math.prod(shape) * dtype.itemsize


def write_features(path: Path, shape: tuple[int, ...], dtype: torch.dtype, batches: Iterable[Tensor]) -> Tensor:
    """Write batches as they come, so that the set is never in memory as a whole.

    Args:
        path: Where to; a file that is there is replaced at the end.
        shape: (N, C, h, w) of the set.
        dtype: A float type.
        batches: (n, C, h, w) each, N images in all, on the CPU.

    Returns:
        The set, mapped.

    Raises:
        OSError: No space, no permission, or a type that is not kept; nothing is left behind.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise OSError(f"features of type {name} are not kept")
    staged = path.with_name(f"{path.stem}-{secrets.token_hex(4)}{UNFINISHED_SUFFIX}")
    try:
        with staged.open("xb") as file:
            _reserve(file, file_bytes(shape, dtype))
            crc32 = _write_values(file, batches)
            header = _Header(shape=shape, dtype=name, crc32=crc32)  # type: ignore[arg-type]  # checked above
            _write_header(file, header)
        staged.replace(path)
    except BaseException:
        with suppress(OSError):
            staged.unlink()
        raise
    with path.open("rb") as file:
        return _map(file, header)  # what was just written needs no check


def map_features(path: Path) -> Tensor | None:
    """The features in a file, mapped: pages are read when they are needed, and may be dropped again.

    Returns:
        The set as it was written, contiguous; None when the file is missing, cut short, damaged or something else.
    """
    with suppress(OSError, ValueError), path.open("rb") as file:
        header = _read_header(file)
        if header is not None and _checksum(file) == header.crc32:
            return _map(file, header)
    return None


def _reserve(file: IO[bytes], size: int) -> None:
    """Take the space now: a full disk is noticed before anything is computed, and others see what will be used."""
    file.truncate(size)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


def _write_values(file: IO[bytes], batches: Iterable[Tensor]) -> int:
    crc32 = 0
    file.seek(_PAGE_BYTES)
    for batch in batches:
        values = batch.contiguous().view(torch.uint8).numpy().data
        crc32 = zlib.crc32(values, crc32)
        file.write(values)
    return crc32


def _write_header(file: IO[bytes], header: _Header) -> None:
    """Last of all, so that an unfinished file has none."""
    if file.tell() != _PAGE_BYTES + header.values_bytes():
        raise ValueError(f"the batches are no set of shape {header.shape}")
    file.flush()
    file.seek(0)
    file.write(_MAGIC + header.model_dump_json().encode())
    file.flush()
    os.fsync(file.fileno())


def _read_header(file: IO[bytes]) -> _Header | None:
    page = file.read(_PAGE_BYTES)
    if not page.startswith(_MAGIC):
        return None
    header = _Header.model_validate_json(page.removeprefix(_MAGIC).rstrip(b"\0"))
    size = os.fstat(file.fileno()).st_size
    return header if size == _PAGE_BYTES + header.values_bytes() else None


def _checksum(file: IO[bytes]) -> int:
    # Read, not mapped: that would count all pages as this process's memory.
    crc32 = 0
    file.seek(_PAGE_BYTES)
    while chunk := file.read(_CHUNK_BYTES):
        crc32 = zlib.crc32(chunk, crc32)
    return crc32


def _map(file: IO[bytes], header: _Header) -> Tensor:
    mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # the tensor keeps it open
    values = torch.frombuffer(mapping, dtype=_DTYPES[header.dtype], offset=_PAGE_BYTES)
    return values.reshape(header.shape)


@contextmanager
def exclusive(path: Path, *, patience_s: float = _PATIENCE_S) -> Iterator[bool]:
    """Hold the lock file ``path`` for a block; the lock of a process that is killed goes with it.

    The wait ends without the lock when no file that begins with the lock's stem has been written to for
    ``patience_s``: whoever has it is suspended, or stuck.

    Args:
        path: Lock file, in a folder that is there.
        patience_s: In seconds.

    Yields:
        Whether the lock is held; it is not where the disk or the system has none.
    """
    lock = _wait_for(path, patience_s)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            with suppress(OSError):
                path.unlink()  # while it is held: whoever waits for it sees that the file is another
            lock.close()


def _wait_for(path: Path, patience_s: float) -> IO[bytes] | None:
    seen, since = _last_write(path), time.monotonic()
    with suppress(OSError):
        while time.monotonic() - since < patience_s:
            file = path.open("ab")
            if _try_lock(file) and _is_at(path, file):
                return file
            file.close()
            time.sleep(_POLL_S)
            if (now := _last_write(path)) != seen:
                seen, since = now, time.monotonic()
    return None


def _try_lock(file: IO[bytes]) -> bool:
    if sys.platform == "win32":
        raise OSError("no lock that goes with its process")
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _last_write(path: Path) -> int:
    """Newest change of the lock and of what its holder writes, as the disk's clock has it."""
    newest = 0
    for sibling in path.parent.glob(f"{path.stem}*"):
        with suppress(OSError):
            newest = max(newest, sibling.stat().st_mtime_ns)
    return newest


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
