"""One line of JSON per frame."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import StorageError
from edge_ad.streaming.frame import Result
from edge_ad.streaming.sinks.base import Sink, check_output
from edge_ad.streaming.sources.base import Source

__all__ = ["RecordsSink"]


class RecordsSink(Sink):
    """Writes every record at once and whole: a file that ends early ends after a complete line.

    Args:
        path: The JSON-lines file.
        overwrite: Replace an existing file.

    Raises:
        UsageError: The file exists, or its folder does not.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        check_output(path, overwrite=overwrite)
        self._path = path
        self._file: FileIO | None = None
        self._is_new = False
        self._size = 0
        self._source_name = ""

    def begin(self, source: Source) -> None:
        """Open the file; what it holds stays until the first record comes."""
        self._source_name = source.name
        self._is_new = not self._path.exists()
        try:
            self._file = FileIO(self._path, "a")
        except OSError as error:
            raise self._failure(error.strerror) from error

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Append the record of a frame."""
        line = json.dumps(_record(result, self._source_name), allow_nan=False).encode() + b"\n"
        assert self._file is not None
        try:
            if self._size == 0:
                self._cut_to_size()
            written = self._file.write(line)
        except OSError as error:
            self._cut_to_size()
            raise self._failure(error.strerror) from error
        if written != len(line):
            self._cut_to_size()
            raise self._failure("No space left on device")
        self._size += len(line)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._cut_to_size()
            self._file.close()
            self._file = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; a stream that failed before its first record leaves everything as it was."""
        if error is not None and self._file is not None and self._size == 0:
            self._file.close()
            self._file = None
            if self._is_new:
                self._path.unlink(missing_ok=True)
        super().__exit__(kind, error, trace)

    def _cut_to_size(self) -> None:
        """Drop a torn line, or what an older stream wrote."""
        with suppress(OSError):  # a pipe or a device has no length
            assert self._file is not None
            self._file.truncate(self._size)

    def _failure(self, why: str | None) -> StorageError:
        return StorageError(
            f"Records cannot be written to {self._path}: {why}.", "Make room, or choose another place for them."
        )


def _record(result: Result, source_name: str) -> dict[str, Any]:
    verdict, frame = result.verdict, result.frame
    captured = datetime.fromtimestamp(frame.captured_unix, timezone.utc)
    return {
        "frame": frame.index,
        "time": captured.isoformat(timespec="milliseconds"),
        "source": source_name,
        "score": _finite(verdict.score),
        "threshold": _finite(verdict.threshold),
        "normalised": _finite(verdict.normalised),
        "verdict": "NG" if verdict.is_anomalous else "OK",
        "latency_ms": round(result.prepare_ms + result.infer_ms, 3),
        "age_ms": round(result.age_ms, 3),
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return float(value) if np.isfinite(value) else None
