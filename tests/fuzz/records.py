"""Databases of records: damaged pages, other schemas, values of other types."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from edge_ad.errors import EdgeAdError
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records import RecordStore, UnjudgedRow, VerdictRow
from tests.fuzz.console import run_command
from tests.fuzz.mutation import mutate_bytes
from tests.fuzz.target import Target, pack, unpack

__all__ = ["RecordTarget"]

_COMMAND, _DATABASE = "command", "line.sqlite"
_START_UNIX = 1_700_000_000.0
_VALUES = (None, "text", b"\xff\xfe", 1e308, -1, 1 << 62, float("inf"), "../../etc/passwd", "", "\0", 9e99, "{", "[]")
_COMMANDS = (
    ("list", "--json"),
    ("list",),
    ("list", "--events", "--json"),
    ("list", "--events"),
    ("trend", "--json"),
    ("trend",),
    ("list", "--since", "2023-11-14", "--verdict", "NG", "--json"),
    ("verify",),
    ("verify", "--json"),
    ("export", "--out"),
    ("export", "--events", "--out"),
)


class RecordTarget(Target):
    """Reading a database lists, exports and draws what is there, or says in one line what is wrong; so does writing."""

    name = "records"
    limit_s = 30.0

    def prepare(self) -> None:
        """Record some frames and events."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _DATABASE
            store = RecordStore(path, source="line")
            rows = [VerdictRow("line", "b1", n, _START_UNIX + 900 * n, n / 8, 1.0, n > 8, 3.0, 4.5) for n in range(16)]
            event = Event("part", _START_UNIX, "line", "Part 0 is OK.", {"part": 0})
            store.commit([*rows, event, UnjudgedRow(_START_UNIX, "line", "black")])
            store.close()
            self._content = path.read_bytes()

    def make(self, rng: random.Random) -> bytes:
        """The number of a command, and a database with damaged bytes or strange values."""
        command = rng.randrange(len(_COMMANDS) + 1)
        content = self._edited(rng) if rng.random() < 0.5 else mutate_bytes(self._content, rng)
        return pack({_COMMAND: str(command).encode(), _DATABASE: content})

    def open(self) -> None:
        """Make a folder for the database."""
        self._folder = tempfile.TemporaryDirectory(prefix="edge-ad-fuzz-")

    def close(self) -> None:
        """Remove it."""
        self._folder.cleanup()

    def run(self, content: bytes) -> str:
        """Read it by the command line, or write to it."""
        folder = Path(self._folder.name)
        for path in folder.iterdir():
            path.unlink()
        files = unpack(content)
        path = folder / _DATABASE
        path.write_bytes(files[_DATABASE])
        if (command := int(files[_COMMAND])) >= len(_COMMANDS):
            return _write(path)
        action, *options = _COMMANDS[command]
        if options[-1:] == ["--out"]:
            options.append(str(folder / "out.csv"))
        _, _, problem = run_command(["records", action, str(path), *options])
        return f"{action}: {problem}" if problem else ""

    def _edited(self, rng: random.Random) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _DATABASE
            path.write_bytes(self._content)
            with closing(sqlite3.connect(path)) as connection, connection:
                for _ in range(rng.choice((1, 2, 4))):
                    _edit(connection, rng)
            return path.read_bytes()


def _edit(connection: sqlite3.Connection, rng: random.Random) -> None:
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    table = rng.choice(sorted(names))
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    try:
        match rng.randrange(6):
            case 0:
                connection.execute(f"DROP TABLE {table}")
            case 1:
                connection.execute(f"PRAGMA user_version = {rng.choice((-1, 0, 1, 2, 99, 2**31 - 1))}")
            case 2:
                connection.execute(f"ALTER TABLE {table} RENAME COLUMN {rng.choice(columns)} TO other")
            case _:
                connection.execute(f"UPDATE {table} SET {rng.choice(columns)} = ?", [rng.choice(_VALUES)])
    except (sqlite3.Error, IndexError):  # a constraint, or nothing left to change
        return


def _write(path: Path) -> str:
    with suppress(EdgeAdError), closing(RecordStore(path, source="line")) as store:
        store.commit([VerdictRow("line", "b1", 1, _START_UNIX, 0.5, 1.0, False, 3.0, 4.5)])
    return ""
