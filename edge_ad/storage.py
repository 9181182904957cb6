"""Atomic writing of files and folders, and their hashes."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_ad.errors import StorageError

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

__all__ = [
    "atomic_directory",
    "cache_folder",
    "clone_tree",
    "disk_is_full",
    "is_taken",
    "one_at_a_time",
    "remove_leftovers",
    "sha256_file",
    "storage_errors",
    "write_file",
]

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_HASH_CHUNK_BYTES = 1 << 20
_FULL_BELOW_BYTES = 1 << 16
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux: a path from the current folder; exchange two names
_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The cache folder: ``$EDGE_AD_CACHE``, else the user's; it need not exist."""
    chosen = os.environ.get("EDGE_AD_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else base / "edge-ad"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, as 64 lower-case hex digits.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old content or the new, never a part of it.

    Raises:
        StorageError: No space or no permission; the old file is untouched and nothing is left behind.
    """
    with storage_errors(path), _parents_of(path):
        staged = _sibling(path, "partial")
        try:
            _write_durably(staged, content)
            staged.replace(path)
        except BaseException:
            with suppress(OSError):
                staged.unlink()
            raise
        _sync_directory(path.parent)


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Fill a folder beside ``target`` and move it there when the block ends without an error.

    An existing ``target`` is replaced. Where the system and the disk can exchange two names (Linux), there is no moment
    without it, even if the process is killed; elsewhere it is moved aside first, and comes back if the move fails.

    Yields:
        The empty folder to fill.

    Raises:
        StorageError: No space or no permission; the old folder is untouched and nothing is left behind.
    """
    target = target.resolve()  # replace what a link points to, not the link
    with storage_errors(target), _parents_of(target):
        staged = _sibling(target, "partial")
        staged.mkdir()
        try:
            yield staged
            _publish(staged, target)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise


@contextmanager
def one_at_a_time(folder: Path, *, quietly: bool = False) -> Iterator[None]:
    """Wait until no other process is in such a block for this folder or file; not to be nested.

    Where the system or the disk has no locks, or it does not exist, nothing is waited for.

    Args:
        folder: What is held.
        quietly: Do not say that something is waited for.
    """
    descriptor = None
    try:
        with suppress(OSError):
            if fcntl is not None:
                descriptor = os.open(folder, os.O_RDONLY)
                _lock(descriptor, folder, quietly=quietly)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(descriptor: int, folder: Path, *, quietly: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not quietly:
            _log.warning("Another command is changing what is in %s: waiting until it is done.", folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def is_taken(folder: Path) -> bool:
    """Whether another process is in a block of `one_at_a_time` for this folder; False where nothing can tell."""
    descriptor = None
    try:
        if fcntl is not None:
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return False


def remove_leftovers(target: Path) -> None:
    """Remove what `atomic_directory` of killed processes left beside a folder; to be called where no other one runs.

    Where the disk cannot exchange names, and a process was killed between moving the old folder aside and the new one
    to its place, the old one is moved back.
    """
    target = target.resolve()
    for retired in sorted(target.parent.glob(f".{target.name}-????????.old")):
        if not target.exists():
            retired.rename(target)
        shutil.rmtree(retired, ignore_errors=True)
    for staged in target.parent.glob(f".{target.name}-????????.partial"):
        shutil.rmtree(staged, ignore_errors=True)


@contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a `StorageError` that names ``target``."""
    try:
        yield
    except OSError as error:
        raise StorageError(*_explanation(target, error)) from error


def clone_tree(source: Path, target: Path) -> None:
    """Fill the empty folder ``target`` with the files of ``source``, as hard links where the disk can.

    The caller must not write into a cloned file, only replace it: its content may be shared.

    Raises:
        OSError: A file cannot be read or written.
    """
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
            continue
        try:
            os.link(path, copy)
        except OSError:  # FAT cards and some network disks have no links
            shutil.copy2(path, copy)


def disk_is_full(directory: Path) -> bool:
    """Whether less than 64 KiB are free: native libraries do not pass the reason for a failed write on."""
    return shutil.disk_usage(directory).free < _FULL_BELOW_BYTES


@contextmanager
def _parents_of(path: Path) -> Iterator[None]:
    """Make the folders above ``path``; remove those that were missing when the block fails."""
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # never made, or used by another process by now
                folder.rmdir()
        raise


def _sibling(path: Path, suffix: str) -> Path:
    # Not tempfile: it makes files that only their owner may read, whatever the umask says.
    return path.with_name(f".{path.name}-{secrets.token_hex(4)}.{suffix}")


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _publish(staged: Path, target: Path) -> None:
    for path in staged.rglob("*"):
        if path.is_file():
            _sync(path)
    _sync_directory(staged)
    if target.exists() and _exchanged(staged, target):
        _sync_directory(target.parent)
        shutil.rmtree(staged, ignore_errors=True)
        return
    retired = _sibling(target, "old") if target.exists() else None
    if retired is not None:
        target.rename(retired)
    try:
        staged.rename(target)
    except BaseException:
        if retired is not None:
            retired.rename(target)
        raise
    _sync_directory(target.parent)
    if retired is not None:
        shutil.rmtree(retired, ignore_errors=True)


def _exchanged(first: Path, second: Path) -> bool:
    """Let two names change places in one step: ``renameat2`` of Linux. False where that cannot be done."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # musl, and glibc before 2.28, lack it
    if rename is None:
        return False
    result: int = rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return result == 0


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    if os.name == "posix":  # Windows cannot open a folder
        _sync(path)


def _explanation(target: Path, error: OSError) -> tuple[str, str]:
    if error.errno in _DISK_FULL:
        return f"{target} could not be written: the disk is full.", "Free some space or write to another disk."
    if error.errno in _NOT_ALLOWED:
        where = error.filename or target
        return f"{target} could not be written: no permission for {where}.", "Choose a folder you may write to."
    return f"{target} could not be written: {error.strerror or error} ({error.filename or target}).", ""
