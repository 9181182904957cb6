"""Verifies the trail of a database: finds what was changed, removed, exchanged or added, and says where."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_ad.errors import TrailError
from edge_ad.streaming.records.confirmation import CONFIRMATIONS
from edge_ad.streaming.records.retention import REMOVED
from edge_ad.streaming.records.schema import TRAIL_SINCE, open_for_reading
from edge_ad.streaming.records.trail import Entry, entry_hash
from edge_ad.streaming.records.trail_head import TrailHead, contradiction, read_head
from edge_ad.streaming.records.trail_rows import Differences, TrailRow, rows_of, span_of

__all__ = ["TrailReport", "verify_trail"]

_MOST_PROBLEMS = 100


@dataclass
class TrailReport:
    """What was found.

    Attributes:
        problems: One sentence for each thing that does not agree; empty where everything does.
        entries: Entries that were verified.
        verdicts: Verdicts that they cover.
        events: Events that they cover.
        head: The newest entry, ``NUMBER:HASH``.
        began_unix: When the trail began, where that is still known; in seconds since the epoch.
        uncovered: Verdicts and events of before, which are not covered.
        removed_until: Number of the last entry whose rows were removed for their age; 0 where none was.
        removed_until_unix: The latest time of its rows, in seconds since the epoch.
        head_file: ``"agrees"``, ``"is missing"``, or ``"does not agree"``: the head beside the database.
    """

    problems: list[str] = field(default_factory=list)
    entries: int = 0
    verdicts: int = 0
    events: int = 0
    head: str = ""
    began_unix: float | None = None
    uncovered: tuple[int, int] = (0, 0)
    removed_until: int = 0
    removed_until_unix: float | None = None
    head_file: str = "is missing"


def verify_trail(path: Path, head: TrailHead | None = None) -> TrailReport:
    """Verify the trail of a database, from its beginning or its anchor to its end; a stream may be writing.

    Args:
        path: The database; it is not changed.
        head: An earlier head that must be part of the trail, noted by somebody else.

    Raises:
        DataError: There is no database of records.
        TrailError: It has no trail, since an older edge-ad wrote it; or the file itself is damaged.
    """
    noted = read_head(path)  # before the snapshot: a stream may go on
    connection = open_for_reading(path)
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] < TRAIL_SINCE:
            hint = "The next stream, or edge-ad records confirm, begins one; what was recorded before is not covered."
            raise TrailError(f"{path} has no trail: an older edge-ad wrote it.", hint)
        connection.row_factory = None
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        connection.execute("BEGIN")  # one snapshot
        return _Check(connection).report(noted, head)
    except sqlite3.Error as error:
        raise TrailError(f"{path} is damaged: {error}.", "Compare it with a copy.") from error
    finally:
        connection.close()


class _Check:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._found = TrailReport()
        self._differences = Differences()
        self._confirmed: dict[int, str] = {}  # what the rows say
        self._said: dict[int, str] = {}  # what the events say
        self._signed: dict[str, Any] = {}  # the newest event about an anchor

    def report(self, noted: TrailHead | None, head: TrailHead | None) -> TrailReport:
        """Verify all of it."""
        entries = self._entries()
        anchor = next(entries, None)
        if anchor is None:
            self._tell("The whole trail is missing.")
            return self._found
        self._begin(anchor)
        last = self._follow(anchor, entries)
        self._found.head = last.name
        self._found.problems += self._differences.problems()
        self._check_anchor(anchor)
        self._check_confirmations(anchor)
        self._check_heads(noted, head)
        del self._found.problems[_MOST_PROBLEMS:]
        return self._found

    def _tell(self, problem: str) -> None:
        self._found.problems.append(problem)

    def _entries(self) -> Iterator[Entry]:
        for entry in map(Entry._make, self._connection.execute("SELECT * FROM trail ORDER BY entry")):
            if entry.is_sound:
                yield entry

    def _begin(self, anchor: Entry) -> None:
        if anchor.entry:
            self._found.removed_until, self._found.removed_until_unix = anchor.entry, anchor.newest_unix
        else:
            self._found.began_unix, self._found.uncovered = anchor.newest_unix, (anchor.verdicts, anchor.events)

    def _follow(self, anchor: Entry, entries: Iterator[Entry]) -> Entry:
        """Verify entry by entry; after one that does not agree, go on from the hash that is stored for it."""
        verdicts = _Rows("record", rows_of(self._connection, "verdicts", anchor.last_verdict))
        events = _Rows("event", rows_of(self._connection, "events", anchor.last_event))
        before, computed = anchor, anchor
        for entry in entries:
            has_gap = entry.entry != before.entry + 1
            if has_gap:
                self._tell(f"{span_of('entry', before.entry + 1, entry.entry - 1)} missing from the trail, or damaged.")
            rows = [
                *verdicts.take(entry.verdicts, entry.last_verdict, self._differences, has_gap=has_gap),
                *events.take(entry.events, entry.last_event, self._differences, has_gap=has_gap),
            ]
            self._note(rows)
            before, computed = entry, self._compare((before, computed), entry, rows, has_gap=has_gap)
        for rest in (verdicts, events):
            rest.skip(None, self._differences)
        return before

    def _compare(self, before: tuple[Entry, Entry], entry: Entry, rows: Sequence[TrailRow], *, has_gap: bool) -> Entry:
        """Note what does not agree with the hash of an entry; returns the entry with the hash that its rows give.

        It may be built on the hash that is stored for the entry before, or, where only that one was changed, on the
        one that its rows give.
        """
        self._found.entries += 1
        found = [_hash(one, entry, rows) for one in dict.fromkeys(before)]
        if entry.hash in found:
            return entry
        changed = [row for row in rows if row.is_changed]
        for row in changed:
            self._differences.note("changed", row)
        if not changed and not has_gap and len(rows) == entry.verdicts + entry.events:
            what = "its hash, its numbers, or a row together with its checksum was changed"
            self._tell(f"Entry {entry.entry} of the trail ({_covered(rows)}) does not agree: {what}.")
        return entry._replace(hash=found[0] or entry.hash)

    def _note(self, rows: Sequence[TrailRow]) -> None:
        for row in rows:
            if row.noun == "record":
                self._found.verdicts += 1
                if row.mark != "":
                    self._confirmed[row.number] = row.mark
                continue
            self._found.events += 1
            if row.mark == REMOVED:
                self._signed = _facts(row)
            elif row.mark in CONFIRMATIONS:
                self._said.update(dict.fromkeys(_ids(row), CONFIRMATIONS[row.mark]))

    def _check_anchor(self, anchor: Entry) -> None:
        """An anchor must be signed off by the newest event about one, which the trail covers."""
        if anchor.entry and (self._signed.get("entry"), self._signed.get("hash")) != (anchor.entry, anchor.hash.hex()):
            what = f"What was recorded up to entry {anchor.entry} is missing"
            self._tell(f"{what}, and no event of the trail says that it was removed for its age.")

    def _check_confirmations(self, anchor: Entry) -> None:
        for number in sorted(self._said.keys() | self._confirmed.keys()):
            is_mark, said = self._confirmed.get(number, ""), self._said.get(number, "")
            if number > anchor.last_verdict and is_mark != said:
                what = f"is marked {is_mark!r}" if is_mark else "is not marked"
                because = f"an event says {said!r}" if said else "no event says so"
                self._tell(f"Record {number} {what} as confirmed, but {because}.")

    def _check_heads(self, noted: TrailHead | None, head: TrailHead | None) -> None:
        if noted is not None:
            wrong = contradiction(self._connection, noted)
            self._found.head_file = "does not agree" if wrong else "agrees"
            if wrong:
                self._tell(f"{wrong} So says the file beside the database.")
        if head is not None and (wrong := _missing(self._connection, head)):
            self._tell(wrong)


def _missing(connection: sqlite3.Connection, head: TrailHead) -> str:
    """Why a head that was given is not part of the trail; empty where it is. One that cannot be checked is not."""
    found = connection.execute("SELECT entry FROM trail WHERE hash = ?", (head.hash,)).fetchone()
    if found is not None and head.entry in (None, found[0]):
        return ""
    if head.entry is None:
        return f"No entry has the hash {head.name}: the end of the trail is missing, or it was rewritten."
    reached = f"Entry {head.entry} was removed for its age: give a newer head."
    return contradiction(connection, head) or reached


class _Rows:
    """The rows of a table by id, taken entry by entry."""

    def __init__(self, noun: str, rows: Iterator[TrailRow]) -> None:
        self._noun, self._rows = noun, rows
        self._next = next(rows, None)

    def take(self, count: int, last: int, differences: Differences, *, has_gap: bool) -> list[TrailRow]:
        """The rows that an entry covers; those before it are in no entry, or in one that is missing."""
        first = last - count + 1
        self.skip(first, None if has_gap else differences)
        taken: list[TrailRow] = []
        while self._next is not None and self._next.number <= last and len(taken) < count:
            taken.append(self._step())
        if len(taken) < count:
            differences.note_missing(self._noun, first, last, taken)
        return taken

    def skip(self, until: int | None, differences: Differences | None) -> None:
        """Pass the rows before an id, or all that are left."""
        while self._next is not None and (until is None or self._next.number < until):
            row = self._step()
            if differences is not None:
                differences.note("outside", row)

    def _step(self) -> TrailRow:
        row, self._next = self._next, next(self._rows, None)
        assert row is not None
        return row


def _hash(before: Entry, entry: Entry, rows: Sequence[TrailRow]) -> bytes | None:
    """The hash that rows give; None where one of them has no encoding."""
    encoded = [row.encoded for row in rows if row.encoded is not None]
    if len(encoded) < len(rows):
        return None
    return entry_hash(before, entry.header(), b"".join(encoded))


def _covered(rows: Sequence[TrailRow]) -> str:
    return (
        f"{rows[0].noun} {rows[0].number} to {rows[-1].noun} {rows[-1].number}, {rows[0].time}" if rows else "no rows"
    )


def _facts(row: TrailRow) -> dict[str, Any]:
    try:
        facts = json.loads(row.data)
    except (TypeError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _ids(row: TrailRow) -> list[int]:
    ids = _facts(row).get("ids")
    return [number for number in ids if isinstance(number, int)] if isinstance(ids, list) else []
