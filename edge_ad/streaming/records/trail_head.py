"""The head of the trail, outside the database: what shows that records were removed at its end."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import NamedTuple

from edge_ad.errors import UsageError
from edge_ad.storage import write_file
from edge_ad.streaming.records.trail import Entry
from edge_ad.strict_json import to_json

__all__ = ["TrailHead", "contradiction", "head_file", "read_head", "write_head"]

_HEAD = re.compile(r"(?:(\d{1,18}):)?([0-9a-f]{64})")


class TrailHead(NamedTuple):
    """A head of a trail, as it was noted once.

    Attributes:
        entry: Number of the entry; None where only its hash was noted.
        hash: 32 bytes.
    """

    entry: int | None
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> TrailHead:
        """Read ``HASH`` or ``NUMBER:HASH``.

        Raises:
            UsageError: It is neither.
        """
        match = _HEAD.fullmatch(text.strip().lower())
        if match is None:
            hint = "Give what the stream's summary showed as trail: 64 hex digits, or NUMBER:HASH."
            raise UsageError(f"{text!r} is no head of a trail.", hint)
        return cls(int(match[1]) if match[1] else None, bytes.fromhex(match[2]))

    @property
    def name(self) -> str:
        """``NUMBER:HASH``, or ``HASH``."""
        return self.hash.hex() if self.entry is None else f"{self.entry}:{self.hash.hex()}"


def head_file(database: Path) -> Path:
    """Where the head of a database's trail is kept: ``line.sqlite.head`` beside ``line.sqlite``."""
    return database.with_name(database.name + ".head")


def read_head(database: Path) -> TrailHead | None:
    """The head that is kept beside a database; None where there is none, or none that can be read."""
    try:
        noted = json.loads(head_file(database).read_text(encoding="utf-8"))
        return TrailHead.parse(f"{noted['entry']}:{noted['hash']}")
    except (OSError, ValueError, TypeError, KeyError, UsageError):
        return None


def write_head(database: Path, entry: Entry) -> None:
    """Keep a head beside its database, in one step.

    Raises:
        StorageError: It cannot be written.
    """
    write_file(head_file(database), to_json({"entry": entry.entry, "hash": entry.hash.hex()}).encode() + b"\n")


def contradiction(connection: sqlite3.Connection, head: TrailHead) -> str:
    """What of a noted head does not hold for a database, as a sentence; empty where it holds.

    Args:
        connection: Of the database.
        head: With the number of its entry.
    """
    extremes = connection.execute("SELECT min(entry), max(entry) FROM trail").fetchone()
    found = connection.execute("SELECT hash FROM trail WHERE entry = ?", (head.entry,)).fetchone()
    if head.entry is None or (found is not None and found[0] == head.hash):
        return ""
    if found is None and extremes[0] is not None and head.entry < extremes[0]:
        return ""  # removed for its age
    if found is None and (extremes[1] is None or head.entry > extremes[1]):
        return f"The trail ends at entry {extremes[1] or 0}, but its head was entry {head.entry}: its end is missing."
    return f"Entry {head.entry} has another hash than was noted: the trail was rewritten, or is another one."
