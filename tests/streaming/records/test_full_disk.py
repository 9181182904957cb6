"""A disk that is full while a stream records, and has room again later; with writes that really fail."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from tests.streaming.results import PATIENCE_S

_ROOT = Path(__file__).parents[3]

# full() takes the room away, empty() gives it back; the stream does not know about either.
_PROGRAM = """
import json, resource, sys, time
from pathlib import Path
from edge_ad.streaming.records import NgImageStore
from edge_ad.streaming.sinks import DatabaseSink, NgImagesSink, RecordsSink
from tests.streaming.fakes import FakeSource
from tests.streaming.results import Told, make_result, wait_until

folder, kind = Path(sys.argv[1]), sys.argv[2]
filler = folder / "filler"

def full():
    if kind == "tmpfs":
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))

def empty():
    if kind == "tmpfs":
        filler.unlink()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

told = Told()
sinks = [
    DatabaseSink(folder / "line.sqlite", ng_images=folder / "ng"),
    NgImagesSink(NgImageStore(folder / "ng")),
    RecordsSink(folder / "line.jsonl"),
]
for sink in sinks:
    sink.attach(told)
    sink.begin(FakeSource(None))
number = 0
def write(frames):
    global number
    for _ in range(frames):
        for sink in sinks:
            sink.write(make_result(number, 1.5 if number % 50 == 0 else 0.5), None)
        number += 1

write(200)
wait_until(lambda: sinks[0]._commits.committed == 200)
full()
def write_and_say():
    write(1)
    return told.kinds.count("alarm") == 3
wait_until(write_and_say)
started = time.monotonic()
write(1500)
slowest = time.monotonic() - started
empty()
def write_and_see():
    write(1)
    return told.kinds.count("alarm cleared") == 3
wait_until(write_and_see)
for event in told.events:
    if event.kind in ("alarm", "alarm cleared"):
        for sink in sinks:
            sink.event(event)
for sink in sinks:
    sink.close()
print(json.dumps({"frames": number, "seconds": slowest, "alarms": [e.text for e in told.events if e.kind == "alarm"],
                  "dropped": [sink.dropped for sink in sinks]}))
"""


def _run(folder: Path, kind: str) -> dict[str, object]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-c", _PROGRAM, str(folder), kind]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=5 * PATIENCE_S, env=environment, cwd=_ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _check(folder: Path, said: dict[str, object]) -> None:
    connection = sqlite3.connect(folder / "line.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    everything = list(range(int(str(said["frames"]))))
    with RecordReader(folder / "line.sqlite") as reader:
        records = list(reader.records(RecordFilter()))
        assert [record["frame"] for record in records] == everything  # they waited in memory for room
        assert sorted({event["event"] for event in reader.events(RecordFilter())}) == ["alarm", "alarm cleared"]
    assert [json.loads(line)["frame"] for line in (folder / "line.jsonl").read_text().splitlines()] == everything
    dropped = said["dropped"]
    assert isinstance(dropped, list)
    assert dropped[0] == dropped[2] == 0
    missing = [record for record in records if record["image"] and not record["image_is_there"]]
    assert len(missing) == dropped[1] > 0
    assert not list((folder / "ng").rglob("*.partial"))
    assert float(str(said["seconds"])) < PATIENCE_S  # the stream does not wait for room


def test_a_limit_on_files_that_ends_later(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("files are limited here already")
    _check(tmp_path, _run(tmp_path, "limit"))


def test_a_disk_without_room_that_gets_some(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        said = _run(disk, "tmpfs")
        assert all("full" in text or "No space left" in text for text in said["alarms"])  # type: ignore[attr-defined]
        _check(disk, said)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
