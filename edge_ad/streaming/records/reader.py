"""Reads the database of records, even while a stream writes to it."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from edge_ad.errors import DataError
from edge_ad.masked_address import masked_address, masked_text
from edge_ad.outside_text import storable
from edge_ad.streaming.product_mark import ProductMark
from edge_ad.streaming.records.export import MOST_UNIX, Cells, mistyped
from edge_ad.streaming.records.schema import open_for_reading, verdict_name
from edge_ad.strict_json import to_json

__all__ = ["COLUMNS", "EVENT_COLUMNS", "Bucket", "RecordFilter", "RecordReader"]

COLUMNS = (
    "id", "time", "source", "frame", "score", "threshold", "verdict", "reason", "bundle", "latency_ms", "age_ms",
    "image", "image_is_there", "path", "confirmed", "regions", "recipe", "recipe_hash",
)  # fmt: skip
"""The keys of a record, in their order."""

EVENT_COLUMNS = ("id", "time", "event", "source", "text", "data")
"""The keys of an event, in their order."""

# Outer joins: a verdict whose source or bundle is missing must be reported, not left out.
_VERDICTS = """SELECT v.id, v.time_unix, s.name AS source, v.frame, v.score, v.threshold, v.is_ng, v.reason,
    b.hash AS bundle, v.latency_ms, v.age_ms, v.image, v.path, v.confirmed, v.regions, t.ng_images,
    coalesce(r.name, '') AS recipe, coalesce(r.hash, '') AS recipe_hash
    FROM verdicts v LEFT JOIN sources s ON s.id = v.source LEFT JOIN recipes r ON r.id = v.recipe
    LEFT JOIN bundles b ON b.id = v.bundle LEFT JOIN streams t ON t.id = v.stream"""
_COUNTED = "FROM verdicts v LEFT JOIN sources s ON s.id = v.source"
_MISTYPED = f"""sum(coalesce(
    typeof(v.time_unix) NOT IN ('real', 'integer') OR v.time_unix NOT BETWEEN 0 AND {MOST_UNIX - 1}
    OR typeof(v.score) NOT IN ('real', 'integer', 'null') OR typeof(v.threshold) NOT IN ('real', 'integer', 'null')
    OR v.is_ng NOT IN (0, 1) OR typeof(s.name) <> 'text', 1))"""
_PAGE = 2000


@dataclass(frozen=True)
class RecordFilter:
    """Which records.

    Attributes:
        since_unix: Captured at this time or later, in seconds since the epoch.
        until_unix: Captured before this time.
        source: Of this source only.
        verdict: Only ``"OK"`` or only ``"NG"``.
        min_score: With at least this raw score.
        limit: At most this many, the newest; None for all.
        confirmed: Only what a person confirmed in this way, such as ``"good"``.
        bundle: Only what a bundle judged whose hash begins so.
        recipe: Only what was judged under the recipe of this name.
        kinds: Of events, only these kinds; None for all.
        without: Not these records: time and number of each, by time.
    """

    since_unix: float | None = None
    until_unix: float | None = None
    source: str | None = None
    verdict: Literal["OK", "NG"] | None = None
    min_score: float | None = None
    limit: int | None = None
    confirmed: str | None = None
    bundle: str | None = None
    recipe: str | None = None
    kinds: tuple[str, ...] | None = None
    without: tuple[tuple[float, int], ...] = ()

    def clause(self, time: str, **columns: str) -> tuple[str, list[object]]:
        """The SQL condition and its values.

        Args:
            time: Column of the time.
            columns: Columns of ``id``, ``source``, ``is_ng``, ``score``, ``confirmed``, ``bundle`` (the hash),
                ``recipe`` (the name) and ``kind``, where the table has them.
        """
        is_ng = None if self.verdict is None else int(self.verdict == "NG")
        wanted: list[tuple[str | None, str, object]] = [
            (time, ">=", self.since_unix),
            (time, "<", self.until_unix),
            (columns.get("is_ng"), "=", is_ng),
            (columns.get("score"), ">=", self.min_score),
            (columns.get("confirmed"), "=", self.confirmed),
            (columns.get("recipe"), "=", None if self.recipe is None else storable(self.recipe)),
        ]
        used = [(f"{column} {sign} ?", value) for column, sign, value in wanted if column and value is not None]
        parts, values = [part for part, _ in used], [value for _, value in used]
        if self.source is not None and (column := columns.get("source")):
            parts.append(f"{column} IN (?, ?)")  # an address as it is shown, or in full, as older streams recorded it
            values += [storable(self.source), _shown(self.source)]
        if self.bundle is not None and (column := columns.get("bundle")):
            parts.append(f"substr({column}, 1, length(?)) = ?")
            values += [self.bundle, self.bundle]
        if self.kinds is not None and (column := columns.get("kind")):
            parts.append(f"{column} IN ({', '.join('?' * len(self.kinds))})")
            values += self.kinds
        if (without := self.left_out) and (column := columns.get("id")):
            parts.append(f"{column} NOT IN (SELECT value FROM json_each(?))")
            values.append(to_json(without))
        return " AND ".join(parts) or "1", values

    @property
    def left_out(self) -> list[int]:
        """Numbers of the records of its time that it is without; a query of a short time does not hold all of them."""
        first = 0 if self.since_unix is None else bisect_left(self.without, (self.since_unix,))
        last = None if self.until_unix is None else bisect_left(self.without, (self.until_unix,))
        return [number for _, number in self.without[first:last]]


@dataclass(frozen=True)
class Bucket:
    """The records of a span of time.

    Attributes:
        start_unix: Its start, in seconds since the epoch.
        frames: Judged frames.
        defective: How many were above the threshold.
        lowest: Lowest score.
        mean: Mean score.
        highest: Highest score.
        threshold: Mean threshold.
    """

    start_unix: float
    frames: int
    defective: int
    lowest: float | None
    mean: float | None
    highest: float | None
    threshold: float | None

    @property
    def ng_rate(self) -> float:
        """Share of defective frames, in [0, 1]."""
        return self.defective / self.frames


class RecordReader:
    """An open database of records. A context manager; one thread at a time.

    Args:
        path: The database.

    Raises:
        DataError: There is none, it is something else, or a newer edge-ad wrote it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_for_reading(path)

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The database."""
        return self._path

    def close(self) -> None:
        """Release the database."""
        self._connection.close()

    def records(self, chosen: RecordFilter) -> Iterator[dict[str, Any]]:
        """Judged frames as dictionaries of `COLUMNS`, oldest first; ``image`` is a path, None when none was kept."""
        for row in self._newest(_VERDICTS, "v.id", chosen, "v.time_unix", **_OF_VERDICTS):
            yield {**self._verdict(row), **self._image(row)}

    def pages(self, newest: int) -> Iterator[list[dict[str, Any]]]:
        """The newest judged frames without their images, oldest first, a page at a time.

        No transaction is open between two pages, so that a stream can keep writing and cleaning up.

        Args:
            newest: How many.
        """
        last = next(self._rows("SELECT coalesce(max(id), 0) FROM verdicts", []))[0]
        after = max(0, last - newest)
        statement = f"{_VERDICTS} WHERE v.id > ? ORDER BY v.id LIMIT ?"
        while after < last and (rows := list(self._rows(statement, [after, min(_PAGE, last - after)]))):
            after = rows[-1]["id"]
            yield [self._verdict(row) for row in rows]

    def events(self, chosen: RecordFilter) -> Iterator[dict[str, Any]]:
        """Events, oldest first; of the filter, only time, source, kinds and limit apply."""
        statement = "SELECT id, time_unix, kind, source, text, data FROM events"
        for row in self._newest(statement, "id", chosen, "time_unix", source="source", kind="kind"):
            cells = Cells(self._path, "events", row)
            yield {
                "id": cells.whole("id"),
                "time": cells.time("time_unix"),
                "event": cells.text("kind"),
                "source": _shown(cells.text("source")),
                "text": masked_text(cells.text("text")),
                "data": cells.data("data"),
            }

    def span(self, chosen: RecordFilter) -> tuple[float, float] | None:
        """Time of the first and the last record, in seconds since the epoch; None when there is none."""
        condition, values = chosen.clause("v.time_unix", **_OF_VERDICTS)
        statement = f"SELECT min(v.time_unix), max(v.time_unix), {_MISTYPED} {_COUNTED} WHERE {condition}"
        first, last, wrong = next(self._rows(statement, values))
        if wrong:
            raise mistyped(self._path, wrong)
        return None if first is None else (first, last)

    def buckets(self, chosen: RecordFilter, width_s: float, *, origin_unix: float = 0.0) -> list[Bucket]:
        """The records of each span of ``width_s`` seconds from ``origin_unix`` on; a span without any is left out."""
        condition, values = chosen.clause("v.time_unix", **_OF_VERDICTS)
        statement = f"""SELECT CAST((v.time_unix - ?) / ? AS INTEGER) AS number, count(*), sum(v.is_ng), min(v.score),
            avg(v.score), max(v.score), avg(v.threshold), {_MISTYPED} {_COUNTED}
            WHERE {condition} GROUP BY number ORDER BY number"""
        rows = list(self._rows(statement, [origin_unix, width_s, *values]))
        if wrong := sum(row[7] for row in rows):
            raise mistyped(self._path, wrong)
        return [Bucket(origin_unix + row[0] * width_s, *row[1:7]) for row in rows]

    def count_left_out(self, chosen: RecordFilter) -> int:
        """How many records a filter leaves out by their numbers alone."""
        if not (numbers := chosen.left_out):
            return 0
        condition, values = replace(chosen, without=()).clause("v.time_unix", **_OF_VERDICTS)
        statement = f"SELECT count(*) {_COUNTED} WHERE v.id IN (SELECT value FROM json_each(?)) AND {condition}"
        return int(next(self._rows(statement, [to_json(numbers), *values]))[0])

    def unjudged(self) -> list[dict[str, Any]]:
        """Frames that were not judged: ``source``, ``reason`` and ``frames``."""
        statement = "SELECT source, reason, sum(frames) AS frames FROM unjudged GROUP BY source, reason"
        rows = (Cells(self._path, "unjudged", row) for row in self._rows(statement, []))
        return [
            {"source": _shown(row.text("source")), "reason": row.text("reason"), "frames": row.whole("frames")}
            for row in rows
        ]

    def products(self) -> dict[str, ProductMark]:
        """Hash of each bundle → the product it is of; one without a name where an older edge-ad recorded it."""
        statement = "SELECT id, hash, product, photos FROM bundles"
        rows = (Cells(self._path, "bundles", row) for row in self._rows(statement, []))
        return {row.text("hash"): ProductMark(row.text("product"), tuple(row.text("photos").split())) for row in rows}

    def select(self, statement: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """The rows of a query of one's own, such as sums over many records.

        Args:
            statement: SQL that reads; it cannot change anything.
            values: Of its question marks.

        Raises:
            DataError: The database is damaged.
        """
        return list(self._rows(statement, list(values)))

    def _verdict(self, row: sqlite3.Row) -> dict[str, Any]:
        cells = Cells(self._path, "verdicts", row)
        return {
            "id": cells.whole("id"),
            "time": cells.time("time_unix"),
            "source": _shown(cells.text("source")),
            "frame": cells.whole("frame"),
            "score": cells.number_or_none("score"),
            "threshold": cells.number_or_none("threshold"),
            "verdict": verdict_name(cells.flag("is_ng")),
            "reason": cells.text("reason"),
            "bundle": cells.text("bundle"),
            "latency_ms": cells.number("latency_ms"),
            "age_ms": cells.number("age_ms"),
            "path": cells.text("path"),
            "confirmed": cells.text("confirmed"),
            "regions": cells.items("regions"),
            "recipe": cells.text("recipe"),
            "recipe_hash": cells.text("recipe_hash"),
        }

    def _image(self, row: sqlite3.Row) -> dict[str, Any]:
        cells = Cells(self._path, "verdicts", row)
        name = cells.text_or_none("image")
        if name is None:
            return {"image": None, "image_is_there": None}
        image = self._path.parent / cells.path("ng_images") / name
        return {"image": str(image), "image_is_there": _is_file(image)}

    def _newest(
        self, statement: str, key: str, chosen: RecordFilter, time: str, **columns: str
    ) -> Iterator[sqlite3.Row]:
        condition, values = chosen.clause(time, **columns)
        limit = -1 if chosen.limit is None else chosen.limit
        newest = f"{statement} WHERE {condition} ORDER BY {key} DESC LIMIT {limit:d}"
        ordered = f"{statement} WHERE {condition} ORDER BY {key}"
        return self._rows(ordered if limit < 0 else f"SELECT * FROM ({newest}) ORDER BY id", values)

    def _rows(self, statement: str, values: list[object]) -> Iterator[sqlite3.Row]:
        try:
            yield from self._connection.execute(statement, values)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:  # what SQLite says may quote damaged text
            hint = "sqlite3 FILE .recover saves what can be saved."
            raise DataError(f"{self._path} cannot be read: {error}.", hint) from error


@lru_cache(maxsize=256)
def _shown(source: str) -> str:
    """A source's name without the secrets that older streams recorded."""
    return storable(masked_address(source) if "://" in source else source)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


_OF_VERDICTS = {
    "id": "v.id",
    "source": "s.name",
    "is_ng": "v.is_ng",
    "score": "coalesce(v.score, 9e999)",
    "confirmed": "v.confirmed",
    "bundle": "(SELECT hash FROM bundles WHERE id = v.bundle)",
    "recipe": "(SELECT name FROM recipes WHERE id = v.recipe)",
}
