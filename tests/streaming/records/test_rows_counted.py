"""As many records as judged frames, or an error: counted where they are kept."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from edge_ad.errors import StorageError
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.session import Limits, run_stream
from edge_ad.streaming.sinks import DatabaseSink, RecordsSink, records_sink
from tests.streaming.fakes import FakeEngine, FakeSource


@pytest.mark.parametrize("name", ["line.sqlite", "line.jsonl", "line.csv"])
def test_the_summary_says_how_many_are_kept(name: str, tmp_path: Path, engine: FakeEngine) -> None:
    sinks = [records_sink(tmp_path / name, overwrite=True)]
    kind = "database" if name.endswith("sqlite") else "records"
    assert run_stream(engine, FakeSource(20), threshold=1.0, sinks=sinks).recorded == {kind: 20}
    again = run_stream(engine, FakeSource(20), threshold=1.0, sinks=sinks, limits=Limits(max_frames=7))
    assert again.recorded == {kind: 7}  # of this stream alone
    assert run_stream(engine, FakeSource(0), threshold=1.0, sinks=sinks).recorded == {kind: 0}


def test_rows_that_the_database_does_not_keep_are_an_error(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "line.sqlite"
    run_stream(engine, FakeSource(1), threshold=1.0, sinks=[DatabaseSink(path)])
    other = sqlite3.connect(path)
    other.execute("CREATE TRIGGER t BEFORE INSERT ON verdicts WHEN NEW.frame % 2 BEGIN SELECT RAISE(IGNORE); END")
    other.close()
    with pytest.raises(StorageError, match="database holds 5 of the 10 frames that were judged"):
        run_stream(engine, FakeSource(10), threshold=1.0, sinks=[DatabaseSink(path)])


def test_rows_that_are_removed_for_their_age_are_no_error(tmp_path: Path, engine: FakeEngine) -> None:
    sink = DatabaseSink(tmp_path / "line.sqlite", keep_days=1e-9)
    assert run_stream(engine, FakeSource(50), threshold=1.0, sinks=[sink]).recorded == {"database": 50}
    with RecordReader(tmp_path / "line.sqlite") as reader:
        assert len(list(reader.records(RecordFilter()))) < 50


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted there")
@pytest.mark.parametrize("change", ["delete", "cut"])
def test_lines_that_somebody_took_away_are_an_error(change: str, tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "line.jsonl"

    class _Taken(RecordsSink):
        def close(self) -> None:
            if path.exists():
                path.unlink() if change == "delete" else os.truncate(path, 10)
            super().close()

    with pytest.raises(StorageError, match="deleted or cut"):
        run_stream(engine, FakeSource(10), threshold=1.0, sinks=[_Taken(path)])


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be renamed there")
def test_a_file_that_was_renamed_keeps_its_lines(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "line.jsonl"

    class _Rotated(RecordsSink):
        def close(self) -> None:
            if path.exists():
                path.rename(tmp_path / "line.1.jsonl")
            super().close()

    summary = run_stream(engine, FakeSource(10), threshold=1.0, sinks=[_Rotated(path)])
    assert len((tmp_path / "line.1.jsonl").read_text().splitlines()) == summary.frames == 10
