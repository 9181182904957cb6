"""Writes verdicts, events and counts of unjudged frames to the database in batches."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from edge_ad.errors import EdgeAdError, StorageError
from edge_ad.outside_text import storable
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records.ng_images import Retention
from edge_ad.streaming.records.schema import Durability, open_for_writing, unwritable
from edge_ad.strict_json import to_json

__all__ = ["GroupCommit", "RecordStore", "Row", "UnjudgedRow", "VerdictRow"]

_Item = TypeVar("_Item")
_GATHER_S = 0.05  # the disk gets the other half of the tenth of a second
_CLOSE_S = 2.0


class GroupCommit(Generic[_Item]):
    """Passes records to a commit function, in its own thread, in order, each once.

    While commits succeed, `add` waits when the queue is full (back-pressure). While they fail, the same batch is tried
    again every ``retry_s``; new records are queued, and once the queue is full the oldest are dropped and counted. So a
    full disk neither stops the stream nor fills its memory.

    Args:
        commit: Makes a batch durable; an `EdgeAdError` means that nothing of it is.
        on_commit: Told how many records in all are durable, after every batch.
        on_failure: Told in a sentence why the first of several tries failed.
        on_recovery: Told, once commits succeed again, how many records were lost.
        batch: Most records in one transaction.
        capacity: Most records that wait.
        retry_s: Time between two tries.

    Attributes:
        lost: Records that were given up.
        committed: Records that are durable.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[_Item]], None],
        *,
        on_commit: Callable[[int], None] | None = None,
        on_failure: Callable[[str], None],
        on_recovery: Callable[[int], None],
        batch: int = 512,
        capacity: int = 8192,
        retry_s: float = 0.5,
    ) -> None:
        self.lost = 0
        self.committed = 0
        self._commit, self._on_commit = commit, on_commit
        self._on_failure, self._on_recovery = on_failure, on_recovery
        self._batch_size, self._capacity, self._retry_s = batch, capacity, retry_s
        self._waiting: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._is_closing = self._is_failing = False
        self._lost_before = 0
        self._give_up_at = 0.0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._thread.start()

    def add(self, item: _Item) -> None:
        """Take a record.

        Raises:
            BaseException: What ended the thread, other than a commit that failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < self._capacity or self._is_failing or self._error)
            if self._error is not None:
                raise self._error
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(item)
            if len(self._waiting) in (1, self._batch_size):
                self._changed.notify_all()

    def close(self) -> None:
        """Commit what waits; give up and count what cannot be committed within two seconds.

        Raises:
            BaseException: What ended the thread, other than a commit that failed; what waited then is lost.
        """
        with self._changed:
            self._is_closing, self._give_up_at = True, time.monotonic() + _CLOSE_S
            self._changed.notify_all()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._commit_or_wait(batch)
        except BaseException as error:  # raised again by add and close
            with self._changed:
                self.lost += len(self._waiting)
                self._waiting.clear()
                self._error = error
                self._changed.notify_all()

    def _next_batch(self) -> list[_Item] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            self._changed.wait_for(lambda: len(self._waiting) >= self._batch_size or self._is_closing, _GATHER_S)
            batch = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
            self._changed.notify_all()
            return batch or None

    def _commit_or_wait(self, batch: list[_Item]) -> None:
        """Try until it succeeds, or until closing takes too long."""
        while not self._try(batch):
            with self._changed:
                if not self._is_closing:
                    self._changed.wait_for(lambda: self._is_closing, self._retry_s)
                elif time.monotonic() < self._give_up_at:
                    self._changed.wait(self._retry_s)
                else:
                    self.lost += len(batch) + len(self._waiting)
                    self._waiting.clear()
                    return

    def _try(self, batch: list[_Item]) -> bool:
        try:
            self._commit(batch)
        except EdgeAdError as error:
            with self._changed:
                if not self._is_failing:
                    self._is_failing, self._lost_before = True, self.lost
                self._changed.notify_all()
            self._on_failure(error.message)
            return False
        self.committed += len(batch)
        if self._is_failing:
            with self._changed:
                self._is_failing = False
            self._on_recovery(self.lost - self._lost_before)
        if self._on_commit is not None:
            self._on_commit(self.committed)
        return True


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


@dataclass(frozen=True)
class UnjudgedRow:
    """A frame that was looked at but not judged: when, of which source, why."""

    time_unix: float
    source: str
    reason: str


Row: TypeAlias = VerdictRow | UnjudgedRow | Event

_VERDICT = (
    "INSERT INTO verdicts "
    "(stream, source, bundle, frame, time_unix, score, threshold, is_ng, reason, latency_ms, age_ms, image, path, "
    "regions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_NEWEST = "SELECT coalesce(max(id), 0) FROM verdicts"
_ADDED = "SELECT count(*) FROM verdicts WHERE id > ? AND stream = ?"
_EVENT = "INSERT INTO events (stream, time_unix, kind, source, text, data) VALUES (?, ?, ?, ?, ?, ?)"
_UNJUDGED = """INSERT INTO unjudged (minute_unix, source, reason, frames) VALUES (?, ?, ?, 1)
    ON CONFLICT DO UPDATE SET frames = frames + 1"""


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
        self._path, self._source, self._durability = path, storable(source), durability
        self._ng_images = "" if ng_images is None else _storable_path(os.path.relpath(ng_images, path.parent))
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] = (0, 0)
        self._stream: int | None = None
        self._started_unix = time.time()
        self._names: dict[tuple[str, str], int] = {}
        self._open()

    def commit(self, rows: Sequence[Row]) -> None:
        """Write a batch in one transaction: all of it, or, on an error, nothing.

        Raises:
            StorageError: It could not be written; the same batch may be tried again.
        """
        try:
            self._reopen_if_gone()
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        before = self._stream, dict(self._names)  # new names in a failed batch were not stored
        try:
            assert self._connection is not None
            self._connection.execute("BEGIN IMMEDIATE")  # from here on no other process adds rows
            newest = self._connection.execute(_NEWEST).fetchone()[0]
            for row in rows:
                self._insert(self._connection, row)
            added = self._connection.execute(_ADDED, (newest, self._stream)).fetchone()[0]
            self._connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._stream, self._names = before
            self._roll_back(is_full="full" in str(error))
            raise self._failure(error) from error
        self.rows += added
        self._retention.enforce(self._connection)

    def close(self) -> None:
        """Release the database; may be called twice."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _open(self) -> None:
        self._connection = open_for_writing(self._path, durability=self._durability)
        self._file, self._names = _identity(self._path), {}
        statement = "SELECT count(*) FROM streams WHERE id = ? AND started_unix = ?"
        if self._connection.execute(statement, (self._stream, self._started_unix)).fetchone()[0] == 0:
            self._stream, self.rows = None, 0  # another file

    def _reopen_if_gone(self) -> None:
        """Raise where the file was deleted: what is written to it would be lost silently."""
        if self._connection is None or _identity(self._path) != self._file:
            self.close()
            self._open()

    def _failure(self, error: Exception) -> StorageError:
        return unwritable(self._path, error)

    def _insert(self, connection: sqlite3.Connection, row: Row) -> None:
        if isinstance(row, UnjudgedRow):
            connection.execute(_UNJUDGED, (int(row.time_unix // 60) * 60, storable(row.source), row.reason))
            return
        if isinstance(row, Event):
            data = to_json(row.data)
            texts = (row.kind, storable(row.source), storable(row.text), data)
            values = (self._stream_id(connection), row.at_unix, *texts)
            connection.execute(_EVENT, values)
            return
        ids = (self._stream_id(connection), *(self._id(connection, *name) for name in _names_of(row)))
        numbers = (row.frame, row.time_unix, row.score, row.threshold, row.is_ng, row.reason)
        rest = (row.latency_ms, row.age_ms, row.image, storable(row.path), row.regions)
        connection.execute(_VERDICT, (*ids, *numbers, *rest))

    def _stream_id(self, connection: sqlite3.Connection) -> int:
        if self._stream is None:
            values = (self._started_unix, self._source, self._ng_images)
            statement = "INSERT INTO streams (started_unix, source, ng_images) VALUES (?, ?, ?)"
            self._stream = connection.execute(statement, values).lastrowid
            assert self._stream is not None
        return self._stream

    def _id(self, connection: sqlite3.Connection, table: str, column: str, name: str) -> int:
        """The id of a name; the name itself would be most of a row."""
        if (table, name) not in self._names:
            connection.execute(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", (name,))
            found = connection.execute(f"SELECT id FROM {table} WHERE {column} = ?", (name,)).fetchone()
            self._names[table, name] = int(found[0])
        return self._names[table, name]

    def _roll_back(self, *, is_full: bool) -> None:
        if self._connection is None:
            return
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            is_full = False
        if not is_full:  # the disk may have been away: open the file again
            self.close()


def _names_of(row: VerdictRow) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    return ("sources", "name", storable(row.source)), ("bundles", "hash", storable(row.bundle))


def _storable_path(path: str) -> str | bytes:
    """A path as text, or as bytes where it is not UTF-8."""
    return path if storable(path) == path else os.fsencode(path)


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return status.st_dev, status.st_ino
