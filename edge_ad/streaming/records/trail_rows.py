"""The rows that a trail covers, as they are read for verification, and how they differ from what was written."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Any, NamedTuple

from edge_ad.streaming.records.schema import iso_time
from edge_ad.streaming.records.trail import context_of, encode_event, encode_verdict

__all__ = ["Differences", "TrailRow", "rows_of", "span_of"]

_VERDICTS = """SELECT id, row_check, confirmed, '', stream, source, bundle, recipe, frame, time_unix, score, threshold,
    is_ng, latency_ms, age_ms, reason, image, path, regions FROM verdicts WHERE id > ? ORDER BY id"""
_EVENTS = """SELECT id, row_check, kind, data, stream, NULL, NULL, NULL, time_unix, kind, source, text, data
    FROM events WHERE id > ? ORDER BY id"""
_NUMBER = slice(32, 40)  # where an encoded row has its id
_MOST_COMPARED = 100
_MOST_SPANS = 100


class TrailRow(NamedTuple):
    """A row of ``verdicts`` or ``events``.

    Attributes:
        noun: ``"record"`` or ``"event"``.
        number: Its id.
        check: Its stored checksum.
        mark: Of a verdict what a person confirmed, of an event its kind.
        data: Of an event, its data.
        time_unix: When, in seconds since the epoch.
        encoded: What the trail covers of it; None where a cell is of a type that no stream writes.
    """

    noun: str
    number: int
    check: Any
    mark: Any
    data: Any
    time_unix: Any
    encoded: bytes | None

    @property
    def is_changed(self) -> bool:
        """Whether it is not what its checksum was made of."""
        return self.encoded is None or zlib.crc32(self.encoded) != self.check

    @property
    def time(self) -> str:
        """Its time as text."""
        try:
            return iso_time(self.time_unix)
        except (TypeError, ValueError, OverflowError, OSError):
            return "at no time"

    def is_of(self, other: TrailRow) -> bool:
        """Whether its content belongs to the id of another row: the two were exchanged."""
        if self.encoded is None or self.noun != other.noun:
            return False
        moved = self.encoded[: _NUMBER.start] + struct.pack(">q", other.number) + self.encoded[_NUMBER.stop :]
        return zlib.crc32(moved) in (other.check, self.check)


def rows_of(connection: sqlite3.Connection, table: str, after: int) -> Iterator[TrailRow]:
    """The rows of ``verdicts`` or ``events`` by id, from the one after an id on."""
    streams = {row[0]: row for row in connection.execute("SELECT id, started_unix, source, ng_images FROM streams")}
    sources = dict(connection.execute("SELECT id, name FROM sources").fetchall())
    bundles = dict(connection.execute("SELECT id, hash FROM bundles").fetchall())
    recipes = {row[0]: row[1:] for row in connection.execute("SELECT id, hash, name FROM recipes")}

    @lru_cache(maxsize=4096)
    def context(stream: object, source: object, bundle: object, recipe: object) -> bytes:
        shared = streams.get(stream, (None, None, None, None))
        if table == "events":
            return context_of(*shared, "", "")
        named = () if recipe in (None, "") else recipes.get(recipe, (None, None))
        return context_of(*shared, sources.get(source), bundles.get(bundle), *named)

    is_verdict = table == "verdicts"
    for number, check, mark, data, *rest in connection.execute(_VERDICTS if is_verdict else _EVENTS, (after,)):
        ids, cells = rest[:4], rest[4:]
        time_unix = cells[1] if is_verdict else cells[0]
        encoded: bytes | None = None
        try:
            if is_verdict:
                encoded = encode_verdict(context(*ids), number, tuple(cells))
            else:
                encoded = encode_event(context(*ids), number, *cells)
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError, struct.error):
            pass
        yield TrailRow("record" if is_verdict else "event", number, check, mark, data, time_unix, encoded)


@dataclass
class Differences:
    """Rows that are not as they were written.

    Attributes:
        spans: What happened → the first and the last row of each span of ids that it happened to.
        compared: The first changed rows, to tell which of them were exchanged.
    """

    spans: list[tuple[str, TrailRow, TrailRow]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    compared: list[TrailRow] = field(default_factory=list)

    def note(self, what: str, row: TrailRow) -> None:
        """Note a row of which something holds, such as ``"changed"``."""
        if what == "changed" and len(self.compared) < _MOST_COMPARED:
            self.compared.append(row)
        for position in range(len(self.spans) - 1, max(-1, len(self.spans) - 3), -1):
            before, first, last = self.spans[position]
            if (before, last.noun, last.number) == (what, row.noun, row.number - 1):
                self.spans[position] = (what, first, row)
                return
        if len(self.spans) < _MOST_SPANS:
            self.spans.append((what, row, row))

    def note_missing(self, noun: str, first: int, last: int, found: list[TrailRow]) -> None:
        """Note which ids of a span have no row."""
        numbers = [first - 1, *(row.number for row in found), last + 1]
        for one, other in pairwise(numbers):
            if other - one > 1 and len(self.missing) < _MOST_SPANS:
                where = f" ({_neighbour(found, one, other)})" if found else ""
                self.missing.append(f"{span_of(noun, one + 1, other - 1)} missing{where}.")

    def problems(self) -> list[str]:
        """A sentence for each difference."""
        exchanged = [
            (one, other) for one, other in combinations(self.compared, 2) if one.is_of(other) and other.is_of(one)
        ]
        paired = {(row.noun, row.number) for pair in exchanged for row in pair}
        told = [
            f"{one.noun.capitalize()}s {one.number} ({one.time}) and {other.number} ({other.time}) were exchanged."
            for one, other in exchanged
        ]
        for what, first, last in self.spans:
            if what == "changed" and first is last and (first.noun, first.number) in paired:
                continue
            until = "" if first is last else f" to {last.time}"
            told.append(f"{span_of(first.noun, first.number, last.number)} {_ENDINGS[what]} ({first.time}{until}).")
        return self.missing + told


_ENDINGS = {"changed": "not as written: changed", "outside": "in no entry of the trail: added, or the entry removed"}


def _neighbour(found: list[TrailRow], before: int, after: int) -> str:
    near = min(found, key=lambda row: min(abs(row.number - before), abs(row.number - after)))
    return f"{near.noun} {near.number}, which is there, is of {near.time}"


def span_of(noun: str, first: int, last: int) -> str:
    """``Record 7 is``, or ``Records 7 to 9 are``."""
    noun = noun.capitalize()
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{noun} {first} is" if first == last else f"{plural} {first} to {last} are"
