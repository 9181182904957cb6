"""Measured cells on disk: a line of JSON each, appended whole, so that a run that is killed has lost nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_ad.errors import StorageError
from edge_ad.storage import one_at_a_time, storage_errors
from edge_ad.strict_json import to_json

__all__ = ["append_row", "read_rows"]


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append a row and bring it to the disk; several processes may append to one file.

    Raises:
        StorageError: It cannot be written.
    """
    line = (to_json(row) + "\n").encode()
    with storage_errors(path), one_at_a_time(path.parent):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.lseek(descriptor, _end_of_whole_lines(descriptor), os.SEEK_SET)
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _end_of_whole_lines(descriptor: int) -> int:
    """Where the last whole line ends; what a killed process left after it is cut off."""
    content = os.read(descriptor, os.fstat(descriptor).st_size)
    end = content.rfind(b"\n") + 1
    os.ftruncate(descriptor, end)
    return end


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; none where there is no file. A last line that is not whole is left out.

    Raises:
        StorageError: A line in it is damaged.
    """
    if not path.is_file():
        return []
    *whole, _ = path.read_bytes().split(b"\n")
    try:
        return [json.loads(line) for line in whole]
    except ValueError as error:
        raise StorageError(
            f"{path} is damaged: {error}.", "Delete the line, or the file: its cells run again."
        ) from error
