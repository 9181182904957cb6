"""The timing cache: measured kernels that make the next build short and the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.storage import storage_errors, write_file

__all__ = ["attach_timing_cache", "save_timing_cache"]


def attach_timing_cache(config: Any, path: Path | None) -> str:
    """Let a build start from a file of measured kernels.

    Args:
        config: The builder's configuration.
        path: The file; it may not be there yet. None for no cache.

    Returns:
        ``"none"``, ``"new"``, ``"read"``, or ``"replaced"`` where TensorRT does not take the file: it is of another
        version or GPU.

    Raises:
        StorageError: The file cannot be read.
    """
    if path is None:
        return "none"
    content = b""
    if path.is_file():
        with storage_errors(path):
            content = path.read_bytes()
    cache = config.create_timing_cache(content)
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return "read" if content else "new"
    empty = config.create_timing_cache(b"")
    if empty is not None:
        config.set_timing_cache(empty, ignore_mismatch=False)
    return "replaced" if content else "none"


def save_timing_cache(config: Any, path: Path | None) -> None:
    """Write what the build has measured, atomically; nothing where TensorRT keeps no cache.

    Raises:
        StorageError: No space or no permission; the old file is untouched.
    """
    if path is None:
        return
    cache = config.get_timing_cache()
    content = bytes(cache.serialize()) if cache is not None else b""
    if content:
        write_file(path, content)
