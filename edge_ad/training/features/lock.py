"""One process at a time, as far as that can be had: without a lock the same is computed twice, and nothing breaks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

__all__ = ["exclusive"]

_POLL_S = 0.1
_PATIENCE_S = 120.0


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
