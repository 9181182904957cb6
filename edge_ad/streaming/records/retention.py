"""Removes old records, a bounded number at a time, and leaves an anchor from which the trail can be verified."""

from __future__ import annotations

import sqlite3
import time
from typing import NamedTuple

from edge_ad.errors import UsageError
from edge_ad.streaming.records.trail import Entry
from edge_ad.strict_json import to_json

__all__ = ["REMOVED", "Removal", "Retention"]

REMOVED = "records removed"
"""Kind of the event that signs off an anchor."""

_CHECK_S = 3600.0
_MOST_AT_ONCE = 20_000  # rows of a table: a fraction of a second on a slow disk
_DAY_S = 86400.0
# What an older edge-ad recorded goes by its time; what the trail covers, from its beginning on, entry by entry.
_UNCOVERED = (
    "DELETE FROM {0} WHERE id IN (SELECT id FROM {0} WHERE id <= ? AND time_unix < ? ORDER BY time_unix LIMIT ?)"
)
_UNJUDGED = """DELETE FROM unjudged WHERE (minute_unix, source, reason) IN
    (SELECT minute_unix, source, reason FROM unjudged WHERE minute_unix < ? LIMIT ?)"""
_ANCHOR = "SELECT * FROM trail ORDER BY entry LIMIT 1"
_LATER = "SELECT * FROM trail WHERE entry > ? ORDER BY entry LIMIT ?"


class Removal(NamedTuple):
    """What was removed: for the event that says so.

    Attributes:
        text: One sentence.
        data: The same as JSON: ``entry`` and ``hash`` of the anchor, ``verdicts`` and ``events`` removed,
            ``oldest_unix`` and ``newest_unix`` of them, ``reason`` and ``by``.
    """

    text: str
    data: str


class Retention:
    """Removes a bounded number of rows at a time, so that recording never waits long.

    Age is counted from a clock that is read once, at the start: setting the clock while the stream runs removes
    nothing. The file does not shrink; its space is used again.

    Args:
        keep_days: Remove what is older; None removes nothing.

    Raises:
        UsageError: The limit is not positive.
    """

    def __init__(self, keep_days: float | None) -> None:
        if keep_days is not None and not keep_days > 0:
            raise UsageError(f"Records cannot be kept for {keep_days:g} days.", "Give a limit above 0, or none.")
        self._keep_days = keep_days
        self._clock_offset = time.time() - time.monotonic()
        self._next_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether to look again for what is too old."""
        return self._keep_days is not None and time.monotonic() >= self._next_at

    def enforce(self, connection: sqlite3.Connection) -> Removal | None:
        """Remove what is too old, and move the anchor of the trail.

        Args:
            connection: Inside a transaction that holds the write lock; what is returned must be recorded in it.

        Returns:
            What was removed; None where nothing was.

        Raises:
            sqlite3.Error: It cannot be removed now.
        """
        assert self._keep_days is not None
        now = time.monotonic()
        self._next_at = now + _CHECK_S
        now_unix = now + self._clock_offset
        oldest_kept = now_unix - self._keep_days * _DAY_S
        anchor = Entry(*connection.execute(_ANCHOR).fetchone())
        if not anchor.is_sound:
            return None
        extremes: list[float] = []
        counts = [_remove_uncovered(connection, anchor, oldest_kept, table) for table in ("verdicts", "events")]
        unjudged = connection.execute(_UNJUDGED, (oldest_kept, _MOST_AT_ONCE)).rowcount
        moved = _old_entry(connection, anchor, oldest_kept, now_unix)
        if moved is not None:
            extremes = _times_until(connection, moved)
            for position, removed in enumerate(_remove_until(connection, moved)):
                counts[position] += removed
        if max(*counts, unjudged) >= _MOST_AT_ONCE or moved is not None:
            self._next_at = now  # there may be more to remove
        return self._said(moved or anchor, counts, extremes) if any(counts) else None

    def _said(self, anchor: Entry, counts: list[int], extremes: list[float]) -> Removal:
        reason = f"older than {self._keep_days:g} days"
        facts: dict[str, object] = {"entry": anchor.entry, "hash": anchor.hash.hex()}
        facts |= {"verdicts": counts[0], "events": counts[1], "reason": reason, "by": "edge-ad stream (retention)"}
        facts |= dict(zip(("oldest_unix", "newest_unix"), extremes, strict=False))
        return Removal(f"{counts[0]} verdicts and {counts[1]} events removed: {reason}.", to_json(facts))


def _remove_uncovered(connection: sqlite3.Connection, anchor: Entry, oldest_kept: float, table: str) -> int:
    last = 0 if anchor.entry else (anchor.last_verdict if table == "verdicts" else anchor.last_event)
    return connection.execute(_UNCOVERED.format(table), (last, oldest_kept, _MOST_AT_ONCE)).rowcount


def _old_entry(connection: sqlite3.Connection, anchor: Entry, oldest_kept: float, now_unix: float) -> Entry | None:
    """The last entry that may be removed together with all before it; None where there is none."""
    found, rows = None, 0
    for entry in map(Entry._make, connection.execute(_LATER, (anchor.entry, _MOST_AT_ONCE))):
        if not entry.is_sound:
            break
        rows += max(entry.verdicts, entry.events)
        is_young = oldest_kept <= entry.newest_unix
        # A time in the far future is that of a wrong clock: it does not keep what follows from being removed.
        if (is_young and entry.newest_unix <= now_unix + _DAY_S) or (found is not None and rows > _MOST_AT_ONCE):
            break
        found = found if is_young else entry
    return found


def _times_until(connection: sqlite3.Connection, entry: Entry) -> list[float]:
    """The earliest and the latest time of what an entry and those before it cover."""
    statement = """SELECT min(time_unix), max(time_unix) FROM (SELECT time_unix FROM verdicts WHERE id <= ?
        UNION ALL SELECT time_unix FROM events WHERE id <= ?)"""
    found = connection.execute(statement, (entry.last_verdict, entry.last_event)).fetchone()
    return [float(value) for value in found if isinstance(value, (int, float))]


def _remove_until(connection: sqlite3.Connection, entry: Entry) -> list[int]:
    """Remove what an entry and those before it cover, and those before it; the entry itself stays as the anchor."""
    verdicts = connection.execute("DELETE FROM verdicts WHERE id <= ?", (entry.last_verdict,)).rowcount
    events = connection.execute("DELETE FROM events WHERE id <= ?", (entry.last_event,)).rowcount
    connection.execute("DELETE FROM trail WHERE entry < ?", (entry.entry,))
    return [verdicts, events]
