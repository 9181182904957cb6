"""What a person says of a recorded verdict: that the part was good, whatever the verdict."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from edge_ad.errors import DataError, StorageError
from edge_ad.outside_text import storable
from edge_ad.streaming.records.schema import open_for_reading, open_for_writing, unwritable
from edge_ad.streaming.records.trail import INSERT_EVENT, Entry, EntryWriter, context_of
from edge_ad.streaming.records.trail_head import write_head
from edge_ad.strict_json import to_json

__all__ = ["CONFIRMATIONS", "CONFIRMED_GOOD", "confirm_records"]

CONFIRMED_GOOD = "good"
CONFIRMATIONS = {"confirmed good": CONFIRMED_GOOD, "confirmation withdrawn": ""}
"""Kind of an event → what it says of the records whose ids are in its data."""

_AT_ONCE = 500  # SQLite takes 999 values in a statement


def confirm_records(path: Path, ids: Collection[int], *, by: str, withdraw: bool = False) -> int:
    """Mark records as those of good parts, with an event in the trail that says who did; a stream may be writing.

    Args:
        path: The database; one of an older schema is brought up to date.
        ids: Numbers of the records, at least one.
        by: Who says so.
        withdraw: Take the mark away again.

    Returns:
        How many records were changed; those that were so already are not.

    Raises:
        DataError: No such database, or no record of one of these numbers; nothing is changed then.
        StorageError: It cannot be written to.
    """
    open_for_reading(path).close()  # whatever it is, no new one is made
    wanted, head = sorted(set(ids)), None
    connection = open_for_writing(path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            changed = _mark(connection, path, wanted, "" if withdraw else CONFIRMED_GOOD)
            if changed:
                head = _tell(connection, changed, by, withdraw=withdraw)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise unwritable(path, error) from error
    finally:
        connection.close()
    if head is not None:
        with suppress(StorageError):
            write_head(path, head)
    return len(changed)


def _mark(connection: sqlite3.Connection, path: Path, wanted: list[int], mark: str) -> list[int]:
    changed: list[int] = []
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        places = ", ".join("?" * len(some))
        found = dict(connection.execute(f"SELECT id, confirmed FROM verdicts WHERE id IN ({places})", some).fetchall())
        if missing := [number for number in some if number not in found]:
            raise DataError(f"{path} has no record {missing[0]}.", f"edge-ad records list {path} shows their numbers.")
        connection.execute(f"UPDATE verdicts SET confirmed = ? WHERE id IN ({places})", [mark, *some])
        changed += [number for number in some if found[number] != mark]
    return changed


def _tell(connection: sqlite3.Connection, changed: list[int], by: str, *, withdraw: bool) -> Entry | None:
    """An event of the stream that the newest of the records is of."""
    statement = """SELECT id, started_unix, source, ng_images FROM streams
        WHERE id = (SELECT stream FROM verdicts WHERE id = ?)"""
    stream = connection.execute(statement, [changed[-1]]).fetchone()
    kind = "confirmation withdrawn" if withdraw else "confirmed good"
    count = f"{len(changed)} record{'s' if len(changed) > 1 else ''}"
    text = f"{count} {'no longer ' if withdraw else ''}confirmed as good by {by}."
    row = (time.time(), kind, "", storable(text), to_json({"by": by, "ids": changed}))
    trail = EntryWriter(connection)
    number, check = trail.event(context_of(*stream, "", ""), *row)
    connection.execute(INSERT_EVENT, (number, check, stream[0], *row))
    trail.finish()
    return trail.entry
