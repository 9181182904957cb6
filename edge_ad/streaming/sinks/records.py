"""One line of JSON or CSV per frame."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import time
from collections import deque
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import StorageError
from edge_ad.streaming.frame import Result
from edge_ad.streaming.records.export import csv_lines
from edge_ad.streaming.records.schema import record_of
from edge_ad.streaming.sinks.base import Sink, check_output
from edge_ad.streaming.sinks.hook import Alarm
from edge_ad.streaming.sources.base import Source
from edge_ad.strict_json import to_json

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["RecordsSink"]

_MOST_WAITING = 8192  # lines that wait for space on the disk; beyond that the oldest are dropped
_RETRY_S = 0.5
_LONGEST_UNREAD_S = 5.0  # for a full pipe: the end of a stream waits no longer for its reader
_POLL_S = 0.1
_HINT_NO_ROOM = "Free some space, or choose another place for them."
_HINT_PIPE = "Start the reader first, and let it read until the end."
_HINT_OTHERS = "Do not touch the file while the stream runs; give each stream its own file."


class RecordsSink(Sink):
    """Writes each record immediately, as a complete line: a file that ends early ends after a complete line.

    A disk that fills up later does not end the stream: an alarm is raised, and the newest records wait for space.

    Args:
        path: The file; CSV with a heading when its name ends in ``.csv``, JSON lines otherwise.
        overwrite: Replace an existing file.

    Raises:
        UsageError: The file exists, or its folder does not.
    """

    delivery = "lossless"

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        check_output(path, overwrite=overwrite)
        self._path = path
        self._line = _csv_line if path.suffix.lower() == ".csv" else _json_line
        self._file: FileIO | None = None
        self._is_new = False
        self._size = 0
        self._source_name = ""
        self._alarm = Alarm("records")
        self._waiting: deque[bytes] = deque()
        self._retry_at = 0.0

    def attach(self, control: StreamControl) -> None:
        """Raise alarms there."""
        self._alarm.attach(control)

    def begin(self, source: Source) -> None:
        """Open the file; it keeps its old content until the first record comes."""
        self._source_name = source.name
        self._is_new = not self._path.exists()
        self.rows = 0
        try:
            self._file = FileIO(self._path, "a", opener=_open_without_waiting)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise self._failure("no program reads from it", _HINT_PIPE) from error
            raise self._failure(error.strerror) from error
        if not _is_ours(self._file):
            self._file.close()
            self._file = None
            raise self._failure("another stream writes to it", "Choose another name.")

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Append the record of a frame.

        Raises:
            StorageError: Even the first one cannot be written, or the reader of a pipe has closed it or stopped.
        """
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(self._line(record_of(result, self._source_name), self._size == 0))
        if time.monotonic() < self._retry_at:
            return
        try:
            self._flush()
        except OSError as error:
            is_over = error.errno in (errno.EPIPE, errno.ETIMEDOUT)  # a pipe without its reader
            if self._size == 0 or is_over:
                self._waiting.clear()
                raise self._failure(error.strerror, _HINT_PIPE if is_over else _HINT_NO_ROOM) from error
            self._retry_at = time.monotonic() + _RETRY_S
            self._alarm.raise_once(self._failure(error.strerror).message)

    def close(self) -> None:
        """Close the file.

        Raises:
            StorageError: Records were lost for lack of space, or another program changed, replaced or renamed the file.
        """
        if self._file is None:
            return
        try:
            self._flush()
            self._check_kept()
            self._cut_to_size()
        except OSError as error:
            self.dropped += len(self._waiting)
            self._waiting.clear()
            raise self._failure(error.strerror) from error
        finally:
            self._file.close()
            self._file = None
        if self.dropped:
            raise self._failure(f"there was no space for {self.dropped} of them")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; if the stream failed before its first record, the old content is kept."""
        if error is not None and self._file is not None and self._size == 0:
            self._file.close()
            self._file = None
            if self._is_new:
                self._path.unlink(missing_ok=True)
        super().__exit__(kind, error, trace)

    def _flush(self) -> None:
        """Write what waits, in complete lines."""
        while self._waiting:
            self._append(self._waiting[0])
            self._waiting.popleft()
        self._alarm.clear(f"Records are written to {self._path} again; {self.dropped} were lost.", lost=self.dropped)

    def _append(self, line: bytes) -> None:
        assert self._file is not None
        if self._size == 0:
            self._cut_to_size()
        try:
            written = self._write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            self._cut_to_size()
            raise
        self._size += len(line)
        self.rows = (self.rows or 0) + 1

    def _write(self, line: bytes) -> int:
        """Write to a file as much as fits; to a pipe everything, as it is read."""
        assert self._file is not None
        written, until = 0, time.monotonic() + _LONGEST_UNREAD_S
        while (part := self._file.write(line[written:])) is None or written + part < len(line):
            if part is not None and _is_regular(self._file):
                return written + part
            written += part or 0
            if time.monotonic() > until:
                raise OSError(errno.ETIMEDOUT, "its reader has stopped")
            select.select((), (self._file,), (), _POLL_S)
        return len(line)

    def _check_kept(self) -> None:
        """Raise where the file does not hold exactly what was written, or is no longer found by its name."""
        assert self._file is not None
        if not _is_regular(self._file) or not self._size:
            return
        status = os.fstat(self._file.fileno())
        try:
            is_there = status.st_nlink > 0 and os.path.samestat(status, self._path.stat())
        except OSError:
            is_there = False
        if not is_there:
            raise self._failure("another program deleted, replaced or renamed the file during the stream", _HINT_OTHERS)
        if status.st_size != self._size:
            raise self._failure("another program wrote to the file or truncated it during the stream", _HINT_OTHERS)

    def _cut_to_size(self) -> None:
        """Remove a torn line, or the content of an older stream."""
        with suppress(OSError):  # a pipe or a device has no length
            assert self._file is not None
            self._file.truncate(self._size)

    def _failure(self, why: str | None, hint: str = _HINT_NO_ROOM) -> StorageError:
        return StorageError(f"Records cannot be written to {self._path}: {why}.", hint)


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe without a reader is an error, and is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def _is_regular(file: FileIO) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def _is_ours(file: FileIO) -> bool:
    """Whether no other stream writes to it; True where that cannot be found out."""
    if fcntl is None or not _is_regular(file):
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # a network file system may have no locks
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _json_line(record: dict[str, Any], _is_first: bool) -> bytes:
    return to_json(record).encode() + b"\n"


def _csv_line(record: dict[str, Any], is_first: bool) -> bytes:
    return csv_lines([record], list(record), has_header=is_first).encode()
