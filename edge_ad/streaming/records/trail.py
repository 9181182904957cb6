"""The trail: a hash chain over verdicts and events, with one entry for each transaction.

``hash[n] = SHA-256(tag, hash[n-1], header[n-1], header[n], verdicts by id, events by id)``. Any change of what an entry
covers changes its hash and all later ones. There is one chain in a database: whoever writes holds SQLite's write lock,
so that several streams extend the same chain one after the other.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import struct
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

from edge_ad.errors import StorageError
from edge_ad.streaming.records.schema import BEGIN_TRAIL

__all__ = [
    "INSERT_EVENT",
    "Entry",
    "EntryWriter",
    "context_of",
    "encode_event",
    "encode_verdict",
    "entry_hash",
    "newest_entry",
]

_TAG = b"edge-ad trail 1\n"
_HEADER = struct.Struct(">qdqqqq")
_pack = struct.Struct(">32sqqBddddd").pack
_EVENT = struct.Struct(">qd")
_HASH_BYTES = 32
_IS_NG = {0: 0, 1: 1}  # and nothing else
_HAS_SCORE, _HAS_THRESHOLD, _HAS_TEXTS = 2, 4, 8
_HAS_BOTH = _HAS_SCORE + _HAS_THRESHOLD
INSERT_EVENT = (
    "INSERT INTO events (id, row_check, stream, time_unix, kind, source, text, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
"""Stores what `EntryWriter.event` took."""

_COLUMNS = "entry, newest_unix, verdicts, last_verdict, events, last_event, hash"
_NEWEST = f"SELECT {_COLUMNS} FROM trail ORDER BY entry DESC LIMIT 1"
_LAST = f"""SELECT {_COLUMNS}, (SELECT max(id) FROM verdicts), (SELECT max(id) FROM events)
    FROM trail ORDER BY entry DESC LIMIT 1"""
_ADD = "INSERT INTO trail VALUES (?, ?, ?, ?, ?, ?, ?)"


VerdictCells: TypeAlias = tuple[int, float, float | None, float | None, int, float, float, str, str | None, str, str]
"""``frame``, ``time_unix``, ``score``, ``threshold``, ``is_ng``, ``latency_ms``, ``age_ms``, ``reason``, ``image``,
``path``, ``regions``."""


class Entry(NamedTuple):
    """One entry of the trail: a row of the table ``trail``.

    Attributes:
        entry: Its number. 0 stands for what was recorded before the trail began.
        newest_unix: The latest time of what it covers, in seconds since the epoch.
        verdicts: How many verdicts it covers.
        last_verdict: Id of the last one; of an earlier entry's where it covers none.
        events: How many events it covers.
        last_event: Id of the last one.
        hash: 32 bytes; random for entry 0.
    """

    entry: int
    newest_unix: float
    verdicts: int
    last_verdict: int
    events: int
    last_event: int
    hash: bytes

    @property
    def name(self) -> str:
        """``NUMBER:HASH``, as it is printed and compared."""
        return f"{self.entry}:{self.hash.hex()}"

    @property
    def is_sound(self) -> bool:
        """Whether its cells are of the types that a trail has."""
        whole = (self.entry, self.verdicts, self.last_verdict, self.events, self.last_event)
        if not all(isinstance(number, int) and number >= 0 for number in whole):
            return False
        return isinstance(self.newest_unix, float) and isinstance(self.hash, bytes) and len(self.hash) == _HASH_BYTES

    def header(self) -> bytes:
        """All but the hash, encoded."""
        return _HEADER.pack(*self[:-1])


def newest_entry(connection: sqlite3.Connection) -> Entry | None:
    """The head of the trail; None where somebody removed all of it."""
    row = connection.execute(_NEWEST).fetchone()
    return None if row is None else Entry(*row)


def entry_hash(before: Entry, header: bytes, rows: bytes) -> bytes:
    """Hash of an entry.

    Args:
        before: The entry before it.
        header: What `Entry.header` gives for it.
        rows: The encoded verdicts by id, then the encoded events by id.
    """
    return hashlib.sha256(b"".join((_TAG, before.hash, before.header(), header, rows))).digest()


def context_of(*cells: object) -> bytes:
    """Digest of what many rows share: stream, its start, source and folder, the names of source and bundle, and, where
    there is one, hash and name of the recipe."""  # noqa: D205, D209 - one sentence
    text = json.dumps(cells, default=lambda value: {"hex": value.hex()}, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def encode_verdict(context: bytes, number: int, cells: VerdictCells) -> bytes:
    """A row of ``verdicts`` as bytes: every bit of its numbers, and its texts with their lengths.

    Args:
        context: What `context_of` gives for its stream, source and bundle.
        number: Its id.
        cells: Its other columns.

    Raises:
        Exception: A cell is of a type that no stream writes.
    """
    frame, time_unix, score, threshold, is_ng, latency_ms, age_ms, reason, image, path, regions = cells
    flags = _IS_NG[is_ng] | _HAS_BOTH
    if score is None or threshold is None:
        flags -= (score is None) * _HAS_SCORE + (threshold is None) * _HAS_THRESHOLD
        score, threshold = (0.0 if value is None else value for value in (score, threshold))
    texts = b""
    if reason or path or regions or image is not None:
        flags |= _HAS_TEXTS
        texts = _netstrings(reason, path, regions, *(() if image is None else (image,))) + b";"
    # SQLite stores -0.0 as 0: so does + 0.0
    return _pack(context, number, frame, flags, time_unix, score + 0.0, threshold + 0.0, latency_ms, age_ms) + texts


def encode_event(context: bytes, number: int, time_unix: float, kind: str, source: str, text: str, data: str) -> bytes:
    """A row of ``events`` as bytes.

    Raises:
        Exception: A cell is of a type that no stream writes.
    """
    return context + _EVENT.pack(number, time_unix + 0.0) + _netstrings(kind, source, text, data)


def _netstrings(*texts: str) -> bytes:
    """``5:hello4:line``; nothing else encodes to the same."""
    return b"".join(b"%d:%b" % (len(raw), raw) for raw in (text.encode("utf-8", "surrogateescape") for text in texts))


class EntryWriter:
    """Numbers the rows of one transaction, and adds them to the trail as an entry.

    Args:
        connection: Inside a transaction that holds the write lock.

    Raises:
        StorageError: Somebody damaged the head of the trail.

    Attributes:
        before: The head of the trail so far.
        last_verdict: Id of the newest verdict so far.
        entry: What was added; None before `finish`, and where there was no row.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.entry: Entry | None = None
        *head, verdict, event = connection.execute(_LAST).fetchone() or _begun(connection)
        self.before = Entry(*head)
        if not self.before.is_sound:
            hint = "edge-ad records verify says what was changed; begin a new database."
            raise StorageError(f"Entry {self.before.entry} of the trail of the records is damaged.", hint)
        # Ids that somebody else's rows took are skipped, and those rows then found to be outside the trail.
        self.last_verdict = self._verdict = max(self.before.last_verdict, verdict or 0)
        self._event = max(self.before.last_event, event or 0)
        self._newest_unix = -math.inf
        self._verdicts: list[bytes] = []
        self._events: list[bytes] = []

    def verdict(self, context: bytes, cells: VerdictCells) -> tuple[int, int]:
        """Take a row of ``verdicts``; returns its id and checksum, to be stored with it."""
        number = self._verdict = self._verdict + 1
        encoded = encode_verdict(context, number, cells)
        self._verdicts.append(encoded)
        if cells[1] > self._newest_unix:
            self._newest_unix = cells[1]
        return number, crc32(encoded)

    def event(self, context: bytes, time_unix: float, kind: str, source: str, text: str, data: str) -> tuple[int, int]:
        """Take a row of ``events``; returns its id and checksum, to be stored with it."""
        self._event += 1
        encoded = encode_event(context, self._event, time_unix, kind, source, text, data)
        self._events.append(encoded)
        self._newest_unix = max(self._newest_unix, time_unix)
        return self._event, crc32(encoded)

    def finish(self) -> None:
        """Add the entry; nothing where no row was taken."""
        if not self._verdicts and not self._events:
            return
        counts = (len(self._verdicts), self._verdict, len(self._events), self._event)
        entry = Entry(self.before.entry + 1, self._newest_unix + 0.0, *counts, b"")
        hashed = entry_hash(self.before, entry.header(), b"".join(self._verdicts + self._events))
        self.entry = entry._replace(hash=hashed)
        self._connection.execute(_ADD, self.entry)


def _begun(connection: sqlite3.Connection) -> tuple[Any, ...]:
    """Begin again where somebody removed all of the trail: what is recorded from now on is covered."""
    connection.execute(BEGIN_TRAIL)
    return tuple(connection.execute(_LAST).fetchone())
