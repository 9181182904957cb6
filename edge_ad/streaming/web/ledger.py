"""Records for a download: the newest in memory, and those in the database that the stream writes."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from itertools import islice
from pathlib import Path
from typing import Any

from edge_ad.streaming.frame import Result
from edge_ad.streaming.records.reader import RecordReader
from edge_ad.streaming.records.record import record_of

__all__ = ["COLUMNS", "Ledger", "stored_records"]

COLUMNS = (
    "time", "source", "frame", "verdict", "reason", "score", "threshold", "normalised", "latency_ms", "age_ms",
    "bundle", "path",
)  # fmt: skip


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
        DataError: There is none, it is no database of records, or it holds what no stream writes.
    """
    with RecordReader(path) as reader:
        yield from reader.pages(newest)
