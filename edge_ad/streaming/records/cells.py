"""The cells of a row of the database, each held against its type: somebody else may have written it."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from edge_ad.errors import DataError
from edge_ad.streaming.records.record import iso_time

__all__ = ["MOST_UNIX", "Cells", "mistyped"]

MOST_UNIX = 253_370_764_800  # the year 9999: no calendar goes further
_HINT = "edge-ad writes no such thing: the file was changed by another program, or is damaged."


class Cells:
    """One row.

    Args:
        path: The database, for messages.
        table: Its table, for messages.
        row: As SQLite gave it.
    """

    def __init__(self, path: Path, table: str, row: sqlite3.Row) -> None:
        self._path, self._table, self._row = path, table, row

    def text(self, name: str) -> str:
        """A text."""
        value = self._row[name]
        return value if isinstance(value, str) else self._refuse(name, "a text")

    def text_or_none(self, name: str) -> str | None:
        """A text, or nothing."""
        return None if self._row[name] is None else self.text(name)

    def path(self, name: str) -> str:
        """A path; one that is no UTF-8 is kept as its bytes."""
        value = self._row[name]
        return os.fsdecode(value) if isinstance(value, bytes) else self.text(name)

    def whole(self, name: str) -> int:
        """A whole number."""
        value = self._row[name]
        return value if isinstance(value, int) else self._refuse(name, "a whole number")

    def number(self, name: str) -> float:
        """A number."""
        value = self._row[name]
        return value if isinstance(value, (int, float)) else self._refuse(name, "a number")

    def number_or_none(self, name: str) -> float | None:
        """A number, or nothing: a score that was not finite."""
        return None if self._row[name] is None else self.number(name)

    def flag(self, name: str) -> bool:
        """0 or 1."""
        value = self._row[name]
        return bool(value) if isinstance(value, int) and value in (0, 1) else self._refuse(name, "0 or 1")

    def time(self, name: str) -> str:
        """Seconds since the epoch, as ISO 8601."""
        seconds = self.number(name)
        return iso_time(seconds) if 0 <= seconds < MOST_UNIX else self._refuse(name, "a time")

    def data(self, name: str) -> dict[str, Any]:
        """A JSON object."""
        try:
            value = json.loads(self.text(name))
        except (ValueError, RecursionError):
            value = None
        return value if isinstance(value, dict) else self._refuse(name, "a JSON object")

    def _refuse(self, name: str, wanted: str) -> Any:
        row = f"row {self._row['id']} of " if "id" in self._row.keys() else ""  # noqa: SIM118 - a Row holds its values
        raise DataError(f"{self._path} cannot be read: {name} in {row}{self._table} is not {wanted}.", _HINT)


def mistyped(path: Path, rows: int) -> DataError:
    """That rows which were only counted and averaged hold something else than numbers."""
    return DataError(f"{path} cannot be read: {rows} of its verdicts are not numbers, or of no source.", _HINT)
