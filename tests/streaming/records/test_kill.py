"""SIGKILL while recording: what was acknowledged is there, the database is whole, and its trail agrees."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_ad.streaming.records.ng_images import NgImageStore
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.records.trail_check import verify_trail

_ROOT = Path(__file__).parents[3]

# Imports once and forks a recorder for every line it reads: fifty starts of Python would take most of the time.
_NURSERY = """
import os, sys
from pathlib import Path
from edge_ad.streaming.records import NgImageStore
from edge_ad.streaming.sinks.database import DatabaseSink
from edge_ad.streaming.sinks.database import NgImagesSink
from tests.streaming.fakes import FakeSource
from tests.streaming.results import make_result

def record(path, name):
    images = path.parent / "ng"
    store = NgImageStore(images, keep_bytes=1_000_000)
    database = DatabaseSink(path, ng_images=images, on_commit=lambda n: os.write(1, f"{name} {n}\\n".encode()))
    pictures = NgImagesSink(store)
    for sink in (database, pictures):
        sink.begin(FakeSource(None))
    number = 0
    while True:
        result = make_result(number, 0.5 + (number % 400 == 0), source=name)
        pictures.write(result, None)
        database.write(result, None)
        number += 1

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        record(Path(sys.argv[1]), line.strip())
    os.write(1, f"pid {pid}\\n".encode())
    os.waitpid(pid, 0)
    os.write(1, b"killed 0\\n")
"""


def _killed_recorder(nursery: subprocess.Popen[str], name: str, delay_s: float) -> int:
    """Start a recorder, kill it some time after its first acknowledgement, and give the last one."""
    assert nursery.stdin is not None
    nursery.stdin.write(f"{name}\n")
    nursery.stdin.flush()
    acknowledged = pid = 0
    kill_at = 0.0
    for word, number in _lines(nursery):
        if word == "pid":
            pid = number
        elif word == name:
            acknowledged = number
            kill_at = kill_at or time.monotonic() + delay_s
        else:
            return acknowledged
        if kill_at and pid and time.monotonic() >= kill_at:
            os.kill(pid, signal.SIGKILL)
            kill_at = float("inf")
    raise AssertionError("the recorder ended by itself")


def _lines(nursery: subprocess.Popen[str]) -> Iterator[tuple[str, int]]:
    assert nursery.stdout is not None
    for line in nursery.stdout:
        word, number = line.split()
        yield word, int(number)


def _check(path: Path, name: str, acknowledged: int) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    with RecordReader(path) as reader:
        frames = [record["frame"] for record in reader.records(RecordFilter(source=name))]
    assert frames == list(range(len(frames)))  # in order, none missing, none twice
    assert len(frames) >= acknowledged
    assert verify_trail(path).problems == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_every_acknowledged_record_is_there_after_sigkill(tmp_path: Path, kills: int) -> None:
    path, chance = tmp_path / "line.sqlite", random.Random(kills)
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-c", _NURSERY, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=_ROOT
    ) as nursery:
        total = 0
        for number in range(kills):
            name = f"run{number}"
            acknowledged = _killed_recorder(nursery, name, chance.uniform(0.0, 0.15))
            assert acknowledged > 0
            total += acknowledged
            _check(path, name, acknowledged)
    with RecordReader(path) as reader:
        assert sum(1 for _ in reader.records(RecordFilter())) >= total
        pictures = [record for record in reader.records(RecordFilter(verdict="NG")) if record["image_is_there"]]
    store = NgImageStore(tmp_path / "ng", keep_bytes=1_000_000)
    store.scan()
    assert pictures  # pictures are ahead of their records, so a store for a few alone would keep none that has one
    assert store.total_bytes <= 1_000_000
    assert not list((tmp_path / "ng").rglob("*.partial"))
