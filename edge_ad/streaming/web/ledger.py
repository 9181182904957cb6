"""Records for a download: the newest in memory, and those in the database that the stream writes."""

from __future__ import annotations

import csv
import io
import math
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from edge_ad.streaming.frame import Result
from edge_ad.streaming.records.record import record_of
from edge_ad.streaming.records.schema import open_for_reading
from edge_ad.streaming.web.not_finite import NOT_FINITE

__all__ = ["COLUMNS", "Ledger", "csv_lines", "stored_records"]

COLUMNS = (
    "time", "source", "frame", "verdict", "score", "threshold", "normalised", "latency_ms", "age_ms", "bundle"
)  # fmt: skip
_NUMBERS = frozenset({"score", "threshold", "normalised"})
_PAGE = 2000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUERY = """SELECT id, time, source, frame, verdict, score, threshold, latency_ms, age_ms, bundle FROM records
    WHERE id > ? ORDER BY id LIMIT ?"""


class Ledger:
    """A ring of records; not thread-safe.

    Args:
        capacity: How many are kept.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._records: deque[dict[str, Any]] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, result: Result, source: str) -> None:
        """Keep the record of a judged frame."""
        self._records.append(record_of(result, source))

    def newest(self, count: int) -> list[dict[str, Any]]:
        """The newest records, oldest first."""
        return list(islice(reversed(self._records), count))[::-1]


def stored_records(path: Path, newest: int) -> Generator[list[dict[str, Any]], None, None]:
    """The newest records of a database, oldest first, a page at a time.

    No transaction is open between two pages, so that the stream can go on writing and tidying up.

    Args:
        path: The database.
        newest: How many.

    Raises:
        DataError: There is none, or it is no database of records.
    """
    with closing(open_for_reading(path)) as connection:
        last = int(connection.execute("SELECT coalesce(max(id), 0) FROM verdicts").fetchone()[0])
        after = max(0, last - newest)
        while after < last:
            rows = connection.execute(_QUERY, (after, min(_PAGE, last - after))).fetchall()
            if not rows:
                return
            after = int(rows[-1]["id"])
            yield [dict(row) for row in rows]


def csv_lines(records: Iterable[Mapping[str, Any]], columns: Sequence[str], *, has_header: bool) -> str:
    """Records as CSV; a score or threshold that is not finite is written so, and not left empty.

    A text that a spreadsheet would take for a formula gets an apostrophe in front: names of sources come from
    outside.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    if has_header:
        writer.writerow(columns)
    for record in records:
        writer.writerow(_as_text(_cell(record, name)) for name in columns)
    return text.getvalue()


def _cell(record: Mapping[str, Any], name: str) -> object:
    value = record.get(name)
    if name not in _NUMBERS:
        return value
    return value if value is not None and math.isfinite(value) else NOT_FINITE


def _as_text(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
