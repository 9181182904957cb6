"""Writes verdicts, events and counts of unjudged frames to the database in batches."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from edge_ad.errors import StorageError
from edge_ad.outside_text import storable
from edge_ad.streaming.frame import NO_RECIPE, Event, RecipeMark
from edge_ad.streaming.product_mark import NO_PRODUCT, ProductMark
from edge_ad.streaming.records.retention import REMOVED, Retention
from edge_ad.streaming.records.schema import Durability, open_for_writing, unwritable
from edge_ad.streaming.records.trail import INSERT_EVENT, Entry, EntryWriter, context_of, newest_entry
from edge_ad.streaming.records.trail_head import contradiction, read_head, write_head
from edge_ad.strict_json import to_json

__all__ = ["RecordStore", "Row", "UnjudgedRow", "VerdictRow"]


@dataclass(frozen=True)
class VerdictRow:
    """A judged frame without its pixels.

    Attributes:
        source: Name of its source.
        bundle: Content hash of the bundle that judged it.
        frame: Its number in the source.
        time_unix: When it was captured, in seconds since the epoch.
        score: Raw anomaly score; None when it is not finite.
        threshold: Threshold it was judged with; None when it is not finite.
        is_ng: Whether it was above, or something is not finite.
        latency_ms: Prepare and infer.
        age_ms: Capture to result.
        image: Name of its picture inside the folder of NG images; None when none is kept.
        reason: ``"not finite"`` or empty.
        path: The file that the frame comes from; empty when it comes from none.
        regions: Of an NG frame, where its map is above the threshold, as JSON; empty for none.
        recipe: The recipe that it was judged under.
        product: Which product the bundle is of.
    """

    source: str
    bundle: str
    frame: int
    time_unix: float
    score: float | None
    threshold: float | None
    is_ng: bool
    latency_ms: float
    age_ms: float
    image: str | None = None
    reason: str = ""
    path: str = ""
    regions: str = ""
    recipe: RecipeMark = NO_RECIPE
    product: ProductMark = NO_PRODUCT


@dataclass(frozen=True)
class UnjudgedRow:
    """A frame that was looked at but not judged: when, of which source, why."""

    time_unix: float
    source: str
    reason: str


Row: TypeAlias = VerdictRow | UnjudgedRow | Event

_VERDICT = (
    "INSERT INTO verdicts "
    "(id, row_check, stream, source, bundle, recipe, frame, time_unix, score, threshold, is_ng, latency_ms, age_ms, "
    "reason, image, path, regions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PRODUCT = "UPDATE bundles SET product = ?, photos = ? WHERE id = ? AND product = ''"
_ADDED = "SELECT count(*) FROM verdicts WHERE id > ? AND stream = ?"
_NOTE_HEAD_S = 60.0
_UNJUDGED = """INSERT INTO unjudged (minute_unix, source, reason, frames) VALUES (?, ?, ?, 1)
    ON CONFLICT DO UPDATE SET frames = frames + 1"""


class _Shared(NamedTuple):
    """Ids of stream, source, bundle and recipe, and what the trail says of them."""

    ids: tuple[int, int, int, int | None]
    context: bytes


class RecordStore:
    """Writes the records of one stream to a database. For one thread at a time.

    Args:
        path: The database; made when it is not there.
        source: What the stream looks at, in words.
        ng_images: Folder of the NG images; None when none are kept.
        durability: What a committed record survives.
        keep_days: Remove what is older, of earlier streams too; None for no limit.

    Attributes:
        rows: Verdicts of this stream that were committed to the database as it is now, counted in the database itself;
            including those that were removed because of their age.
        trail_head: The newest entry of the trail that this stream added; None before the first.
        trail_fault: What of the head that is kept beside the database did not hold when it was opened; else empty.

    Raises:
        DataError: The file is something else, or a newer edge-ad wrote it.
        StorageError: It cannot be written.
        UsageError: The limit is not positive.
    """

    def __init__(
        self,
        path: Path,
        *,
        source: str,
        ng_images: Path | None = None,
        durability: Durability = "normal",
        keep_days: float | None = None,
    ) -> None:
        self._retention = Retention(keep_days)
        self.rows = 0
        self.trail_head: Entry | None = None
        self.trail_fault = ""
        self._path, self._source, self._durability = path, storable(source), durability
        self._ng_images = "" if ng_images is None else _storable_path(os.path.relpath(ng_images, path.parent))
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] = (0, 0)
        self._stream: int | None = None
        self._started_unix = time.time()
        self._shared: dict[tuple[str, str, RecipeMark, ProductMark], _Shared] = {}
        self._settled: Entry | None = None
        self._note_head_at = 0.0
        try:
            connection = self._open()
            if (noted := read_head(path)) is not None:
                self.trail_fault = contradiction(connection, noted)
        except sqlite3.Error as error:
            self._release()
            raise self._failure(error) from error

    def commit(self, rows: Sequence[Row]) -> None:
        """Write a batch in one transaction: all of it, or, on an error, nothing.

        Raises:
            StorageError: It could not be written; the same batch may be tried again.
        """
        try:
            self._reopen_if_gone()
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        before = self._stream
        try:
            assert self._connection is not None
            self._connection.execute("BEGIN IMMEDIATE")  # from here on no other process adds rows
            added = self._insert_all(self._connection, rows)
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._stream, self._shared = before, {}  # new names in a failed batch were not stored
            self._roll_back(is_full="full" in str(error))
            if isinstance(error, (sqlite3.Error, OSError)):
                raise self._failure(error) from error
            raise
        self.rows += added
        with suppress(sqlite3.Error):  # what cannot be removed or noted now is tried again later
            self._remove_old(self._connection)
            self._note_head(self._connection)

    def close(self) -> None:
        """Release the database, and keep the head of its trail beside it; may be called twice."""
        head = None
        if self._connection is not None and self.trail_head is not None:
            with suppress(sqlite3.Error):
                head = newest_entry(self._connection)
        self._release()  # what the file itself holds after that outlasts a power cut
        if head is not None:
            with suppress(StorageError):
                write_head(self._path, head)

    def _release(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        connection = self._connection = open_for_writing(self._path, durability=self._durability)
        self._file, self._shared = _identity(self._path), {}
        statement = "SELECT count(*) FROM streams WHERE id = ? AND started_unix = ?"
        if connection.execute(statement, (self._stream, self._started_unix)).fetchone()[0] == 0:
            self._stream, self.rows, self.trail_head, self._settled = None, 0, None, None  # another file
        return connection

    def _reopen_if_gone(self) -> None:
        """Raise where the file was deleted: what is written to it would be lost silently."""
        if self._connection is None or _identity(self._path) != self._file:
            self._release()
            self._open()

    def _failure(self, error: Exception) -> StorageError:
        return unwritable(self._path, error)

    def _insert_all(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
        """Insert rows and extend the trail; returns how many verdicts of this stream the database has more."""
        trail = EntryWriter(connection)
        for row in rows:
            self._insert(connection, trail, row)
        trail.finish()
        self.trail_head = trail.entry or self.trail_head
        return int(connection.execute(_ADDED, (trail.last_verdict, self._stream)).fetchone()[0])

    def _insert(self, connection: sqlite3.Connection, trail: EntryWriter, row: Row) -> None:
        if isinstance(row, VerdictRow):
            names = (row.source, row.bundle, row.recipe, row.product)
            shared = self._shared.get(names) or self._share(connection, row)
            numbers = (row.frame, row.time_unix, row.score, row.threshold, row.is_ng, row.latency_ms, row.age_ms)
            cells = (*numbers, row.reason, row.image, storable(row.path), row.regions)
            connection.execute(_VERDICT, (*trail.verdict(shared.context, cells), *shared.ids, *cells))
        elif isinstance(row, Event):
            texts = (row.kind, storable(row.source), storable(row.text), to_json(row.data))
            self._insert_event(connection, trail, row.at_unix, *texts)
        else:
            connection.execute(_UNJUDGED, (int(row.time_unix // 60) * 60, storable(row.source), row.reason))

    def _insert_event(self, connection: sqlite3.Connection, trail: EntryWriter, at_unix: float, *texts: str) -> None:
        stream = self._stream_id(connection)
        checks = trail.event(self._context("", ""), at_unix, *texts)
        connection.execute(INSERT_EVENT, (*checks, stream, at_unix, *texts))

    def _share(self, connection: sqlite3.Connection, row: VerdictRow) -> _Shared:
        """What the rows of a source, bundle and recipe have in common; the names would be most of a row."""
        stream, names = self._stream_id(connection), (storable(row.source), storable(row.bundle))
        recipe = () if row.recipe == NO_RECIPE else (storable(row.recipe.hash), storable(row.recipe.name))
        ids = (
            stream,
            _id(connection, "sources", name=names[0]),
            _id(connection, "bundles", hash=names[1]),
            _id(connection, "recipes", hash=recipe[0], name=recipe[1]) if recipe else None,
        )
        if row.product != NO_PRODUCT:
            connection.execute(_PRODUCT, (row.product.name, " ".join(row.product.photos), ids[2]))
        shared = _Shared(ids, self._context(*names, *recipe))
        self._shared[row.source, row.bundle, row.recipe, row.product] = shared
        return shared

    def _context(self, *names: str) -> bytes:
        """What the trail says of stream, source, bundle and perhaps recipe; the stream has its id."""
        return context_of(self._stream, self._started_unix, self._source, self._ng_images, *names)

    def _remove_old(self, connection: sqlite3.Connection) -> None:
        if not self._retention.is_due:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            removal = self._retention.enforce(connection)
            if removal is not None:
                trail = EntryWriter(connection)
                self._insert_event(connection, trail, time.time(), REMOVED, "", removal.text, removal.data)
                trail.finish()
                self.trail_head = trail.entry
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _note_head(self, connection: sqlite3.Connection) -> None:
        """Once a minute, keep the head of a minute ago: a power cut may take the newest records, not older ones."""
        if (now := time.monotonic()) < self._note_head_at:
            return
        self._note_head_at = now + _NOTE_HEAD_S
        if self._settled is not None:
            with suppress(StorageError):
                write_head(self._path, self._settled)
        self._settled = newest_entry(connection)

    def _stream_id(self, connection: sqlite3.Connection) -> int:
        if self._stream is None:
            values = (self._started_unix, self._source, self._ng_images)
            statement = "INSERT INTO streams (started_unix, source, ng_images) VALUES (?, ?, ?)"
            self._stream = connection.execute(statement, values).lastrowid
            assert self._stream is not None
        return self._stream

    def _roll_back(self, *, is_full: bool) -> None:
        if self._connection is None:
            return
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            is_full = False
        if not is_full:  # the disk may have been away: open the file again
            self._release()


def _id(connection: sqlite3.Connection, table: str, **cells: str) -> int:
    """The id of a row, which is added where it is new."""
    values, places = list(cells.values()), ", ".join("?" * len(cells))
    connection.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(cells)}) VALUES ({places})", values)
    condition = " AND ".join(f"{column} = ?" for column in cells)
    return int(connection.execute(f"SELECT id FROM {table} WHERE {condition}", values).fetchone()[0])


def _storable_path(path: str) -> str | bytes:
    """A path as text, or as bytes where it is not UTF-8."""
    return path if storable(path) == path else os.fsencode(path)


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return status.st_dev, status.st_ino
