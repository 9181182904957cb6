"""Records as CSV, JSON lines or Parquet, whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from edge_ad.errors import MissingDependencyError, UsageError
from edge_ad.outside_text import storable
from edge_ad.storage import storage_errors
from edge_ad.streaming.records.csv_text import csv_lines
from edge_ad.strict_json import to_json

__all__ = ["export_records"]

_ROW_GROUP = 50_000

_Records: TypeAlias = Iterable[dict[str, Any]]


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
        raise UsageError(f"{path.name} is no known kind of export.", f"Known endings: {', '.join(_WRITERS)}.")
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
    if isinstance(value, dict):
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
