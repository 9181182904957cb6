"""Export of records as CSV, JSON lines or Parquet; a file is written completely or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from edge_ad.errors import DataError, MissingDependencyError, UsageError
from edge_ad.outside_text import storable
from edge_ad.storage import storage_errors
from edge_ad.streaming.records.schema import iso_time
from edge_ad.strict_json import to_json

__all__ = ["MOST_UNIX", "Cells", "csv_lines", "export_records", "mistyped"]

MOST_UNIX = 253_370_764_800  # the year 9999, where calendars end
_HINT = "edge-ad does not write such values: another program changed the file, or it is damaged."
# What a spreadsheet takes for the start of a formula; the last four are full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_ROW_GROUP = 50_000

_Records: TypeAlias = Iterable[dict[str, Any]]


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
        """A path; kept as bytes where it is not UTF-8."""
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

    def items(self, name: str) -> list[Any]:
        """A JSON list; an empty text is an empty one."""
        text = self.text(name)
        try:
            value = json.loads(text) if text else []
        except (ValueError, RecursionError):
            value = None
        return value if isinstance(value, list) else self._refuse(name, "a JSON list")

    def _refuse(self, name: str, wanted: str) -> Any:
        row = f"row {self._row['id']} of " if "id" in self._row.keys() else ""  # noqa: SIM118 - a Row holds its values
        raise DataError(f"{self._path} cannot be read: {name} in {row}{self._table} is not {wanted}.", _HINT)


def mistyped(path: Path, rows: int) -> DataError:
    """An error: aggregated rows hold something other than numbers."""
    return DataError(f"{path} cannot be read: {rows} of its verdicts are not numbers, or of no source.", _HINT)


def csv_lines(records: Iterable[Mapping[str, Any]], columns: Sequence[str], *, has_header: bool) -> str:
    """Records as CSV.

    A text that a spreadsheet would take for a formula gets an apostrophe in front: names of sources and ids of parts
    come from outside. A number stays a number, even a negative one.

    Args:
        records: Dictionaries with the columns as keys; what is missing or None is an empty cell, and data within a
            record is JSON.
        columns: Their order.
        has_header: Whether a line with the names of the columns goes first.
    """
    rows = [[_cell(record.get(name)) for name in columns] for record in records]
    heading: list[list[object]] = [list(columns)] if has_header else []
    return "".join(map(_line, heading + rows))


def _line(cells: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(
        cells
    )  # this line end makes the writer quote both characters in a cell
    return text.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: object) -> object:
    if isinstance(value, (Mapping, list)):
        return to_json(value)
    if not isinstance(value, str):
        return value
    text = storable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def export_records(records: _Records, columns: Sequence[str], path: Path) -> int:
    """Write records to a file.

    Args:
        records: Dictionaries with the columns as keys; taken one after the other, never all at once.
        columns: Their order.
        path: ``.csv``, ``.jsonl``, ``.ndjson`` or ``.parquet``; replaced when it exists.

    Returns:
        How many records were written.

    Raises:
        UsageError: The ending is unknown.
        MissingDependencyError: Parquet needs pyarrow, which is not installed.
        StorageError: The file cannot be written; nothing is left behind.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise UsageError(f"{path.name} has an unknown ending.", f"Known endings: {', '.join(_WRITERS)}.")
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}.partial")
    counted = _Counted(records)
    try:
        with storage_errors(path):
            write(counted, columns, partial)
            partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    return counted.count


class _Counted:
    def __init__(self, records: _Records) -> None:
        self._records, self.count = records, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for record in self._records:
            self.count += 1
            yield record


def _write_csv(records: _Records, columns: Sequence[str], path: Path) -> None:
    with path.open("x", newline="", encoding="utf-8") as file:
        file.write(csv_lines([], columns, has_header=True))
        for record in records:
            file.write(csv_lines([record], columns, has_header=False))


def _write_jsonl(records: _Records, columns: Sequence[str], path: Path) -> None:
    with path.open("x", encoding="utf-8") as file:
        for record in records:
            file.write(to_json(record) + "\n")


def _write_parquet(records: _Records, columns: Sequence[str], path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet needs pyarrow, which is not installed.", "Install it with: pip install pyarrow; or export CSV."
        ) from error
    schema = pyarrow.schema([(name, _parquet_type(pyarrow, name)) for name in columns])
    rest = iter(records)
    with parquet.ParquetWriter(path, schema) as writer:
        while group := list(islice(rest, _ROW_GROUP)):
            rows = [_flat(record) for record in group]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    return {name: _flat_value(value) for name, value in record.items()}


def _flat_value(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return to_json(value)
    return storable(value) if isinstance(value, str) else value


def _parquet_type(pyarrow: Any, name: str) -> Any:
    if name in {"id", "frame"}:
        return pyarrow.int64()
    if name in {"score", "threshold", "latency_ms", "age_ms"}:
        return pyarrow.float64()
    return pyarrow.bool_() if name == "image_is_there" else pyarrow.string()


_WRITERS: dict[str, Callable[[_Records, Sequence[str], Path], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".ndjson": _write_jsonl,
    ".parquet": _write_parquet,
}
