"""The database of records: its tables, and how it is opened, checked and migrated."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edge_ad.errors import DataError, StorageError
from edge_ad.streaming.frame import Event, Result

__all__ = [
    "BEGIN_TRAIL",
    "SCHEMA_VERSION",
    "TRAIL_SINCE",
    "Durability",
    "event_record",
    "finite",
    "iso_time",
    "open_for_reading",
    "open_for_writing",
    "record_of",
    "regions_of",
    "unwritable",
    "unwritable_hint",
    "verdict_name",
]

Durability: TypeAlias = Literal["normal", "full"]
"""``"normal"``: a committed record survives the end of the process, even SIGKILL. ``"full"``: also a power cut."""

_APPLICATION_ID = 0x45414452  # "EADR": tells these files from other programs' databases
_BUSY_TIMEOUT_S = 5.0
_JOURNAL_BYTES = 16 << 20

BEGIN_TRAIL = """INSERT INTO trail SELECT 0, (julianday('now') - 2440587.5) * 86400.0,
        (SELECT count(*) FROM verdicts), (SELECT coalesce(max(id), 0) FROM verdicts),
        (SELECT count(*) FROM events), (SELECT coalesce(max(id), 0) FROM events), randomblob(32)"""
"""Adds entry 0 of the trail: what was recorded before is not covered."""

TRAIL_SINCE = 6
"""The version that brought the trail."""

# Each entry migrates a database from the previous version; entries are only added, never changed.
_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE streams (
        id INTEGER PRIMARY KEY, started_unix REAL NOT NULL, source TEXT NOT NULL, ng_images TEXT NOT NULL);
    CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE bundles (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE);
    CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL REFERENCES streams, source INTEGER NOT NULL REFERENCES sources,
        bundle INTEGER NOT NULL REFERENCES bundles, frame INTEGER NOT NULL, time_unix REAL NOT NULL,
        score REAL, threshold REAL, is_ng INTEGER NOT NULL, latency_ms REAL NOT NULL, age_ms REAL NOT NULL,
        image TEXT);
    CREATE INDEX verdicts_time ON verdicts (time_unix);
    CREATE INDEX verdicts_ng ON verdicts (time_unix) WHERE is_ng;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY, stream INTEGER NOT NULL REFERENCES streams, time_unix REAL NOT NULL,
        kind TEXT NOT NULL, source TEXT NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL);
    CREATE INDEX events_time ON events (time_unix);
    CREATE TABLE unjudged (
        minute_unix INTEGER NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL, frames INTEGER NOT NULL,
        PRIMARY KEY (minute_unix, source, reason)) WITHOUT ROWID;
    CREATE VIEW records AS
        SELECT v.id, strftime('%Y-%m-%dT%H:%M:%fZ', v.time_unix, 'unixepoch') AS time, s.name AS source, v.frame,
            v.score, v.threshold, CASE v.is_ng WHEN 1 THEN 'NG' ELSE 'OK' END AS verdict, b.hash AS bundle,
            v.latency_ms, v.age_ms, v.image
        FROM verdicts v JOIN sources s ON s.id = v.source JOIN bundles b ON b.id = v.bundle;
    """,
    """
    ALTER TABLE verdicts ADD COLUMN reason TEXT NOT NULL DEFAULT '';
    DROP VIEW records;
    CREATE VIEW records AS
        SELECT v.id, strftime('%Y-%m-%dT%H:%M:%fZ', v.time_unix, 'unixepoch') AS time, s.name AS source, v.frame,
            v.score, v.threshold, CASE v.is_ng WHEN 0 THEN 'OK' ELSE 'NG' END AS verdict, v.reason, b.hash AS bundle,
            v.latency_ms, v.age_ms, v.image
        FROM verdicts v JOIN sources s ON s.id = v.source JOIN bundles b ON b.id = v.bundle;
    """,
    """
    ALTER TABLE verdicts ADD COLUMN path TEXT NOT NULL DEFAULT '';
    DROP VIEW records;
    CREATE VIEW records AS
        SELECT v.id, strftime('%Y-%m-%dT%H:%M:%fZ', v.time_unix, 'unixepoch') AS time, s.name AS source, v.frame,
            v.score, v.threshold, CASE v.is_ng WHEN 0 THEN 'OK' ELSE 'NG' END AS verdict, v.reason, b.hash AS bundle,
            v.latency_ms, v.age_ms, v.image, v.path
        FROM verdicts v JOIN sources s ON s.id = v.source JOIN bundles b ON b.id = v.bundle;
    """,
    """
    ALTER TABLE verdicts ADD COLUMN confirmed TEXT NOT NULL DEFAULT '';
    DROP VIEW records;
    CREATE VIEW records AS
        SELECT v.id, strftime('%Y-%m-%dT%H:%M:%fZ', v.time_unix, 'unixepoch') AS time, s.name AS source, v.frame,
            v.score, v.threshold, CASE v.is_ng WHEN 0 THEN 'OK' ELSE 'NG' END AS verdict, v.reason, b.hash AS bundle,
            v.latency_ms, v.age_ms, v.image, v.path, v.confirmed
        FROM verdicts v JOIN sources s ON s.id = v.source JOIN bundles b ON b.id = v.bundle;
    """,
    """
    ALTER TABLE verdicts ADD COLUMN regions TEXT NOT NULL DEFAULT '';
    DROP VIEW records;
    CREATE VIEW records AS
        SELECT v.id, strftime('%Y-%m-%dT%H:%M:%fZ', v.time_unix, 'unixepoch') AS time, s.name AS source, v.frame,
            v.score, v.threshold, CASE v.is_ng WHEN 0 THEN 'OK' ELSE 'NG' END AS verdict, v.reason, b.hash AS bundle,
            v.latency_ms, v.age_ms, v.image, v.path, v.confirmed, v.regions
        FROM verdicts v JOIN sources s ON s.id = v.source JOIN bundles b ON b.id = v.bundle;
    """,
    f"""
    ALTER TABLE verdicts ADD COLUMN row_check INTEGER;
    ALTER TABLE events ADD COLUMN row_check INTEGER;
    CREATE TABLE trail (
        entry INTEGER PRIMARY KEY, newest_unix REAL NOT NULL, verdicts INTEGER NOT NULL,
        last_verdict INTEGER NOT NULL, events INTEGER NOT NULL, last_event INTEGER NOT NULL, hash BLOB NOT NULL);
    {BEGIN_TRAIL};
    """,
    """
    CREATE TABLE recipes (id INTEGER PRIMARY KEY, hash TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (hash, name));
    ALTER TABLE verdicts ADD COLUMN recipe INTEGER REFERENCES recipes;
    DROP VIEW records;
    CREATE VIEW records AS
        SELECT v.id, strftime('%Y-%m-%dT%H:%M:%fZ', v.time_unix, 'unixepoch') AS time, s.name AS source, v.frame,
            v.score, v.threshold, CASE v.is_ng WHEN 0 THEN 'OK' ELSE 'NG' END AS verdict, v.reason, b.hash AS bundle,
            v.latency_ms, v.age_ms, v.image, v.path, v.confirmed, v.regions, coalesce(r.name, '') AS recipe,
            coalesce(r.hash, '') AS recipe_hash
        FROM verdicts v JOIN sources s ON s.id = v.source JOIN bundles b ON b.id = v.bundle
            LEFT JOIN recipes r ON r.id = v.recipe;
    """,
    """
    ALTER TABLE bundles ADD COLUMN product TEXT NOT NULL DEFAULT '';
    ALTER TABLE bundles ADD COLUMN photos TEXT NOT NULL DEFAULT '';
    """,
)

SCHEMA_VERSION = len(_STEPS)
# Column of a verdict → the version that brought it.
_COLUMNS_SINCE = {
    "reason": 2,
    "path": 3,
    "confirmed": 4,
    "regions": 5,
    "recipe": 7,
}
_RECIPES_SINCE = 7
_PRODUCTS_SINCE = 8


def record_of(result: Result, source_name: str = "", *, with_regions: bool = True) -> dict[str, Any]:
    """A judged frame as data for JSON.

    Args:
        result: The judged frame.
        source_name: Name of the source, for frames that do not say it.
        with_regions: Whether to look for the regions of an NG frame.

    Returns:
        ``frame``, ``time`` (ISO 8601 UTC), ``source``, ``score``, ``threshold``, ``normalised``, ``verdict`` (``"OK"``
        or ``"NG"``), ``reason`` (``"not finite"`` or empty), ``latency_ms`` (prepare and infer), ``age_ms`` (capture to
        result), ``bundle``, ``path`` (of the image or video file; empty for a camera), ``recipe``
        and ``recipe_hash`` (empty where there are no recipes) and ``regions`` (of an NG frame: what `Region.to_dict`
        gives, the highest peak first; else empty); a number that JSON does not have is None.
    """
    verdict, frame = result.verdict, result.frame
    return {
        "frame": frame.index,
        "time": iso_time(frame.captured_unix),
        "source": frame.source or source_name,
        "score": finite(verdict.score),
        "threshold": finite(verdict.threshold),
        "normalised": finite(verdict.normalised),
        "verdict": verdict_name(verdict.is_anomalous),
        "reason": verdict.reason,
        "latency_ms": round(result.prepare_ms + result.infer_ms, 3),
        "age_ms": round(result.age_ms, 3),
        "bundle": result.bundle,
        "path": frame.path,
        "recipe": result.recipe.name,
        "recipe_hash": result.recipe.hash,
        **({"regions": regions_of(result)} if with_regions else {}),
    }


def regions_of(result: Result) -> list[dict[str, Any]]:
    """Where an NG frame's map is above the threshold, as data for JSON; empty for an OK frame."""
    return [region.to_dict() for region in result.regions] if result.is_defective else []


def event_record(event: Event) -> dict[str, Any]:
    """An event as data for JSON: ``event``, ``time``, ``source``, ``text`` and ``data``."""
    return {
        "event": event.kind,
        "time": iso_time(event.at_unix),
        "source": event.source,
        "text": event.text,
        "data": dict(event.data),
    }


def iso_time(at_unix: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_unix, timezone.utc).isoformat(timespec="milliseconds")


def verdict_name(is_anomalous: bool) -> str:
    """``"NG"`` or ``"OK"``."""
    return "NG" if is_anomalous else "OK"


def finite(value: float) -> float | None:
    """The number, or None when JSON and databases have no such number."""
    return float(value) if math.isfinite(value) else None


def open_for_writing(
    path: Path, *, durability: Durability = "normal", steps: Sequence[str] = _STEPS
) -> sqlite3.Connection:
    """Open a database of records; create a missing one, and migrate an older one.

    Args:
        path: The file.
        durability: What a committed record survives.
        steps: Scripts from each version to the next.

    Returns:
        A connection without automatic transactions, to be used by one thread at a time.

    Raises:
        DataError: The file is not a database of records, or a newer edge-ad wrote it.
        StorageError: It cannot be made or changed.
    """
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise unwritable(path, error) from error
    try:
        version = _checked_version(connection, path, newest=len(steps))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {durability.upper()}")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
        _migrate(connection, version, steps)
    except sqlite3.Error as error:
        connection.close()
        raise unwritable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a database of records read-only; a stream may be writing to it.

    Raises:
        DataError: There is none, it is something else, or a newer edge-ad wrote it.
    """
    if not path.is_file():
        raise DataError(f"There are no records at {path}.", "edge-ad stream --database FILE.sqlite writes them.")
    uri = f"{path.resolve().as_uri()}?{_reading_mode(path)}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        version = _checked_version(connection, path, newest=SCHEMA_VERSION)
        if version == 0:
            raise DataError(f"{path} holds no records.", "It is an empty database.")
        _read_as_newest(connection, version)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        connection.close()
        raise DataError(f"{path} cannot be read as records: {error}.") from error
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row
    return connection


def _reading_mode(path: Path) -> str:
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return "mode=rw"  # the last reader removes the index that readers share
    # Where there is no space for that index, no stream writes either.
    return "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"


def _checked_version(connection: sqlite3.Connection, path: Path, *, newest: int) -> int:
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # what SQLite says may quote damaged text
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise DataError(f"{path} is not a database of records: {error}.", "Give another file.") from error
    if application != _APPLICATION_ID and (tables or application or version):
        raise DataError(f"{path} is a database of another program.", "Give another file.")
    if version > newest:
        raise DataError(
            f"{path} has records of schema {version}; this edge-ad knows {newest}.",
            "Use the newer edge-ad that wrote it, or give another file.",
        )
    return version


def _read_as_newest(connection: sqlite3.Connection, version: int) -> None:
    """Make an older database answer like the newest: temporary views hide its tables."""
    if version >= _PRODUCTS_SINCE:
        return
    connection.execute("PRAGMA temp_store = MEMORY")
    missing = [column for column, since in _COLUMNS_SINCE.items() if version < since]
    older = {"bundles": ["product", "photos"]}
    if missing:
        older |= {"verdicts": missing, "records": [*missing, "recipe_hash"]}
    for name, columns in older.items():
        added = ", ".join(f"'' AS {column}" for column in columns)
        connection.execute(f"CREATE TEMP VIEW {name} AS SELECT *, {added} FROM main.{name}")
    if version < _RECIPES_SINCE:
        connection.execute("CREATE TEMP VIEW recipes AS SELECT 0 AS id, '' AS hash, '' AS name WHERE 0")


def _migrate(connection: sqlite3.Connection, version: int, steps: Sequence[str]) -> None:
    if version == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it while we waited for the lock.
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        for script in steps[version:]:
            for statement in script.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def unwritable(path: Path, error: Exception) -> StorageError:
    """An error: records cannot be written to a database, and what to do about it."""
    return StorageError(f"Records cannot be written to {path}: {error}.", unwritable_hint(str(error)))


def unwritable_hint(why: str) -> str:
    """What to do about a database that cannot be written."""
    cause = "Another program holds it: end that one" if "is locked" in why else "Free some space"
    return f"{cause}, or choose another place for them."
