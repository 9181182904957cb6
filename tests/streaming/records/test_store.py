"""The database: complete, whole, recognised, and brought up to date."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge_ad.errors import DataError, StorageError, UsageError
from edge_ad.streaming.frame import Event, RecipeMark
from edge_ad.streaming.product_mark import NO_PRODUCT, ProductMark
from edge_ad.streaming.records import retention
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.records.schema import _STEPS, SCHEMA_VERSION, open_for_reading, open_for_writing
from edge_ad.streaming.records.store import RecordStore, Row, UnjudgedRow, VerdictRow


def _row(frame: int, score: float = 0.5, *, time_unix: float = 1_700_000_000.0, source: str = "line") -> VerdictRow:
    return VerdictRow(source, "b1", frame, time_unix + frame, score, 1.0, score > 1.0, 3.0, 4.5)


def _store(path: Path, rows: list[Row]) -> None:
    store = RecordStore(path, source="line")
    store.commit(rows)
    store.close()


def _frames(path: Path, **chosen: object) -> list[int]:
    with RecordReader(path) as reader:
        return [record["frame"] for record in reader.records(RecordFilter(**chosen))]


def test_what_was_committed_is_read_by_another_connection_at_once(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="line")
    event = Event("part", 5.0, "line", "Part 0 is OK.", {"part": 0})
    store.commit([_row(0, 1.5), event, UnjudgedRow(61.0, "line", "black"), UnjudgedRow(62.0, "line", "black")])
    with RecordReader(path) as reader:
        (record,), (seen,) = reader.records(RecordFilter()), reader.events(RecordFilter())
        assert record["verdict"] == "NG"
        assert (record["time"], record["score"], record["threshold"]) == ("2023-11-14T22:13:20.000+00:00", 1.5, 1.0)
        assert (record["latency_ms"], record["age_ms"], record["bundle"], record["source"]) == (3.0, 4.5, "b1", "line")
        assert (seen["event"], seen["data"]) == ("part", {"part": 0})
        assert reader.unjudged() == [{"source": "line", "reason": "black", "frames": 2}]
    store.close()


def test_a_filter_chooses(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    _store(path, [_row(frame, frame / 4, source="ab"[frame % 2]) for frame in range(8)])
    assert _frames(path, verdict="NG") == [5, 6, 7]
    assert _frames(path, verdict="OK", source="b") == [1, 3]
    assert _frames(path, min_score=1.5) == [6, 7]
    assert _frames(path, since_unix=1_700_000_002.0, until_unix=1_700_000_004.0) == [2, 3]
    assert _frames(path, limit=3) == [5, 6, 7]  # the newest, oldest first
    assert _frames(path, source="'; DROP TABLE verdicts; --") == []


def test_records_of_the_next_stream_are_added(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    _store(path, [_row(0)])
    _store(path, [_row(1)])
    assert _frames(path) == [0, 1]


def test_a_batch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="line")
    unbindable = VerdictRow("new", "b1", 1, 0.0, 1 << 70, 1.0, True, 1.0, 1.0)  # no number that SQLite has
    with pytest.raises(OverflowError):
        store.commit([_row(0), unbindable])
    store.close()
    assert _frames(path) == []


def test_a_database_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="line")
    store.commit([_row(0)])
    for file in tmp_path.iterdir():
        file.unlink()
    store.commit([_row(1)])
    store.close()
    assert _frames(path) == [1]


def test_a_locked_database_is_a_failure_that_can_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="line")
    assert store._connection is not None
    store._connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"):
        store.commit([_row(0)])
    other.execute("ROLLBACK")
    other.close()
    store.commit([_row(0)])
    store.close()
    assert _frames(path) == [0]


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_durability_is_what_was_asked_for(tmp_path: Path, durability: str, level: int) -> None:
    connection = open_for_writing(tmp_path / "line.sqlite", durability=durability)  # type: ignore[arg-type]
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == level
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()


def test_an_older_database_is_brought_up_to_date_and_keeps_its_records(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    _store(path, [_row(3)])
    newer = (*_STEPS, "ALTER TABLE verdicts ADD COLUMN operator TEXT NOT NULL DEFAULT 'nobody'")
    connection = open_for_writing(path, steps=newer)
    assert connection.execute("SELECT frame, operator FROM verdicts").fetchall() == [(3, "nobody")]
    connection.close()
    for opened in (open_for_reading, open_for_writing):  # and this one does not know it any more
        with pytest.raises(DataError, match=rf"schema {SCHEMA_VERSION + 1}; this edge-ad knows {SCHEMA_VERSION}"):
            opened(path)


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_databases_of_every_version_are_read_as_they_are_and_go_on_with_paths(tmp_path: Path, version: int) -> None:
    path = tmp_path / "line.sqlite"
    connection = open_for_writing(path, steps=_STEPS[:version])
    for statement in (
        "INSERT INTO streams VALUES (1, 1.0, 'line', '')",
        "INSERT INTO sources VALUES (1, 'line')",
        "INSERT INTO bundles (id, hash) VALUES (1, 'b1')",
        "INSERT INTO verdicts (id, stream, source, bundle, frame, time_unix, score, threshold, is_ng, latency_ms,"
        " age_ms) VALUES (1, 1, 1, 1, 7, 1.0, 0.5, 1.0, 0, 3.0, 4.0)",
    ):
        connection.execute(statement)
    connection.close()
    with RecordReader(path) as reader:
        (record,) = reader.records(RecordFilter())
        assert (record["frame"], record["reason"], record["path"], record["regions"]) == (7, "", "", [])
        assert [len(page) for page in reader.pages(10)] == [1]
        assert reader.products() == {"b1": NO_PRODUCT}
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA user_version").fetchone() == (version,)  # reading changes nothing
    plate = ProductMark.of("plate", ["p2", "p1"])
    newer = replace(_row(8), path="/data/8.png", regions='[{"x": 1}]', recipe=RecipeMark("Plate", "ab"), product=plate)
    _store(path, [newer, replace(newer, bundle="b2", product=NO_PRODUCT)])
    with RecordReader(path) as reader:
        *records, _ = reader.records(RecordFilter())
        assert reader.products() == {"b1": plate, "b2": NO_PRODUCT}  # the same bundle judges on
    assert [record["path"] for record in records] == ["", "/data/8.png"]
    assert [record["regions"] for record in records] == [[], [{"x": 1}]]
    assert [(record["recipe"], record["recipe_hash"]) for record in records] == [("", ""), ("Plate", "ab")]
    assert check.execute("SELECT path FROM records ORDER BY id LIMIT 2").fetchall() == [("",), ("/data/8.png",)]
    check.close()


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    _store(path, [_row(3)])
    broken = (*_STEPS, "ALTER TABLE verdicts ADD COLUMN operator TEXT;\n ALTER TABLE nothing ADD COLUMN x TEXT")
    with pytest.raises(StorageError, match="nothing"):
        open_for_writing(path, steps=broken)
    assert _frames(path) == [3]


def test_what_is_no_database_of_records_is_left_alone(tmp_path: Path) -> None:
    text, foreign = tmp_path / "text.sqlite", tmp_path / "foreign.sqlite"
    text.write_text("precious notes\n" * 100)
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE precious (x)")
    connection.close()
    for path in (text, foreign):
        before = path.read_bytes()
        for opened in (open_for_reading, open_for_writing):
            with pytest.raises(DataError, match=path.name):
                opened(path)
        assert path.read_bytes() == before
    with pytest.raises(DataError, match="no records"):
        open_for_reading(tmp_path / "missing.sqlite")


def test_records_in_a_folder_one_may_not_write_to_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    _store(path, [_row(0)])
    tmp_path.chmod(0o555)
    try:
        assert _frames(path) == [0]
    finally:
        tmp_path.chmod(0o755)


def test_records_older_than_the_limit_are_removed_and_the_others_stay(tmp_path: Path) -> None:
    path, now = tmp_path / "line.sqlite", time.time()
    for at in (now - day * 86400 for day in (3.0, 2.0, 0.5, 0.0)):
        _store(path, [_row(0, time_unix=at), Event("part", at, "line", "", {}), UnjudgedRow(at, "line", "black")])
    store = RecordStore(path, source="line", keep_days=1.0)
    store.commit([_row(0, time_unix=now)])
    store.close()
    with RecordReader(path) as reader:
        assert [record["id"] for record in reader.records(RecordFilter())] == [3, 4, 5]
        kinds = [event["event"] for event in reader.events(RecordFilter())]
        assert kinds == ["part", "part", "records removed"]
        assert sum(row["frames"] for row in reader.unjudged()) == 2


def test_very_many_old_records_are_removed_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_MOST_AT_ONCE", 3)
    path = tmp_path / "line.sqlite"
    for frame in range(8):
        _store(path, [_row(frame)])
    store = RecordStore(path, source="line", keep_days=1.0)
    left = []
    for _ in range(4):
        store.commit([])
        left.append(len(_frames(path)))
    store.close()
    assert left == [5, 2, 0, 0]


def test_records_are_kept_for_some_time_or_for_ever(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be kept for 0 days"):
        RecordStore(tmp_path / "line.sqlite", source="line", keep_days=0.0)
    assert not (tmp_path / "line.sqlite").exists()
