"""The database as a sink of a real stream."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from edge_ad.errors import DataError, StorageError, UsageError
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.records.trail_check import verify_trail
from edge_ad.streaming.records.trail_head import TrailHead
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import DatabaseSink, RecordsSink, records_sink
from edge_ad.streaming.verdicts import observers_from_options
from tests.streaming.fakes import FakeEngine, FakeSource
from tests.streaming.results import Told, make_result, wait_until


def test_a_stream_records_every_verdict_and_what_follows_from_several(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "line.sqlite"
    observers = observers_from_options(part="2/10")
    run_stream(engine, FakeSource(200), threshold=1.0, sinks=[records_sink(path)], observers=observers)
    with RecordReader(path) as reader:
        records, events = list(reader.records(RecordFilter())), list(reader.events(RecordFilter()))
    assert [record["frame"] for record in records] == list(range(200))
    assert [record["verdict"] for record in records] == ["OK"] * 129 + ["NG"] * 71
    assert {record["source"] for record in records} == {"fake source"}
    parts = [event["data"]["verdict"] for event in events if event["event"] == "part"]
    assert parts == ["OK"] * 13 + ["NG"] * 7  # frame 129 alone is too little
    acted = [event["data"]["frame"] for event in events if event["event"] == "ng"]
    assert acted == [131 + 10 * number for number in range(7)]


def test_an_ng_frame_is_recorded_with_its_regions_and_an_ok_frame_without(tmp_path: Path) -> None:
    path, lines = tmp_path / "line.sqlite", tmp_path / "line.jsonl"
    hot = np.array([[0.0, 0.0], [0.0, 1.5]], np.float32)  # the lower right quarter of 64 x 48 pixels
    for sink in (records_sink(path), RecordsSink(lines)):
        sink.begin(FakeSource(None))
        for score in (1.5, 0.5):
            sink.write(make_result(score=score, anomaly_map=hot), None)
        sink.close()
    expected = [[{"x": 32, "y": 24, "width": 32, "height": 24, "area": 768, "peak": 1.5}], []]
    with RecordReader(path) as reader:
        assert [record["regions"] for record in reader.records(RecordFilter())] == expected
    assert [json.loads(line)["regions"] for line in lines.read_text().splitlines()] == expected
    (event,) = observers_from_options()[0].see(make_result(anomaly_map=hot))
    assert (event.kind, event.data["regions"]) == ("ng", expected[0])


def test_a_record_is_durable_without_another_one_following(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    acknowledged: list[int] = []
    sink = DatabaseSink(path, on_commit=acknowledged.append)
    sink.begin(FakeSource(None))
    sink.write(make_result(), None)
    wait_until(lambda: acknowledged == [1])
    sink.close()


def test_somebody_who_locks_the_database_is_an_alarm_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.streaming.records.schema._BUSY_TIMEOUT_S", 0.05)
    path, told = tmp_path / "line.sqlite", Told()
    sink = DatabaseSink(path)
    sink.attach(told)
    sink.begin(FakeSource(None))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sink.write(make_result(), None)
    wait_until(lambda: told.kinds == ["alarm"])
    other.execute("ROLLBACK")
    other.close()
    wait_until(lambda: told.kinds == ["alarm", "alarm cleared"])
    sink.event(Event("alarm", 0.0))
    sink.close()
    assert "locked" in told.events[0].text
    assert told.events[1].data["lost"] == 0


def test_records_that_are_lost_at_the_end_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.streaming.records.schema._BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr("edge_ad.streaming.records.group_commit._CLOSE_S", 0.1)
    path = tmp_path / "line.sqlite"
    sink = DatabaseSink(path)
    sink.begin(FakeSource(None))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sink.write(make_result(), None)
    with pytest.raises(StorageError, match="1 records could not be written"):
        sink.close()
    other.close()


def test_the_summary_has_the_head_of_the_trail_and_an_event_tells_it_meanwhile(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, told = tmp_path / "line.sqlite", Told()
    summary = run_stream(engine, FakeSource(20), threshold=1.0, sinks=[DatabaseSink(path)])
    assert summary.trail == {"database": verify_trail(path).head}
    monkeypatch.setattr("edge_ad.streaming.sinks.database._TELL_HEAD_S", 0.0)
    sink = DatabaseSink(path)
    sink.attach(told)
    sink.begin(FakeSource(None))
    sink.write(make_result(), None)
    wait_until(lambda: told.kinds == ["trail head"])
    sink.close()
    assert verify_trail(path, TrailHead.parse(f"{told.events[0].data['entry']}:{told.events[0].data['hash']}")).entries


def test_an_end_that_is_missing_is_told_and_recorded_when_the_next_stream_begins(
    tmp_path: Path, engine: FakeEngine
) -> None:
    path = tmp_path / "line.sqlite"
    run_stream(engine, FakeSource(20), threshold=1.0, sinks=[DatabaseSink(path)])
    connection = sqlite3.connect(path)
    connection.executescript("DELETE FROM trail WHERE entry > 0; DELETE FROM verdicts; DELETE FROM events")
    connection.close()
    run_stream(engine, FakeSource(20), threshold=1.0, sinks=[DatabaseSink(path)])
    with RecordReader(path) as reader:
        texts = [event["text"] for event in reader.events(RecordFilter()) if event["event"] == "trail broken"]
    assert len(texts) == 1
    assert "its end is missing" in texts[0]


def test_what_cannot_be_recorded_to_is_refused_before_the_stream(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("notes")
    with pytest.raises(DataError, match=r"text\.sqlite"):
        records_sink(tmp_path / "text.sqlite")
    with pytest.raises(UsageError, match="no folder"):
        records_sink(tmp_path / "missing" / "line.sqlite")
    with pytest.raises(UsageError, match="Known endings"):
        records_sink(tmp_path / "line.txt")
    assert isinstance(records_sink(tmp_path / "line.csv"), RecordsSink)
