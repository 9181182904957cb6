"""As many records as judged frames, or an error: counted where they are kept."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import StorageError
from edge_ad.streaming.frame import Event
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


def _rename(path: Path) -> None:
    path.rename(path.with_suffix(".1"))


def _rotate(path: Path) -> None:
    _rename(path)
    path.touch()


def _replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def _add(path: Path) -> None:
    with path.open("a") as file:
        file.write("of somebody else\n")


_CHANGES: dict[str, Callable[[Path], None]] = {
    "delete": Path.unlink,
    "cut": lambda path: os.truncate(path, 10),
    "rename": _rename,
    "rotate": _rotate,
    "replace": _replace,
    "add": _add,
    "write over": lambda path: path.write_bytes(b"x" * 100_000) and None,
}


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted or renamed there")
@pytest.mark.parametrize("change", _CHANGES)
def test_lines_that_somebody_else_changed_are_an_error(change: str, tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "line.jsonl"

    class _Changed(FakeSource):
        def read(self) -> NDArray[np.uint8] | None:
            if self.reads == 60:  # more than the queues hold: lines are in the file
                _CHANGES[change](path)
            return super().read()

    with pytest.raises(StorageError, match="somebody"):
        run_stream(engine, _Changed(200), threshold=1.0, sinks=[RecordsSink(path)])


@pytest.mark.skipif(os.name == "nt", reason="there are no such locks")
def test_two_streams_cannot_write_to_one_file(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "line.jsonl"
    with RecordsSink(path) as first:
        first.begin(FakeSource(1))
        with pytest.raises(StorageError, match="another stream writes to it"):
            run_stream(engine, FakeSource(5), threshold=1.0, sinks=[RecordsSink(path, overwrite=True)])
    assert run_stream(engine, FakeSource(5), threshold=1.0, sinks=[RecordsSink(path, overwrite=True)]).frames == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_written_to_while_somebody_reads_it(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "line.jsonl"
    os.mkfifo(path)
    with pytest.raises(StorageError, match="no program reads from it"):
        run_stream(engine, FakeSource(5), threshold=1.0, sinks=[RecordsSink(path, overwrite=True)])
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        sinks = [RecordsSink(path, overwrite=True)]
        assert run_stream(engine, FakeSource(5), threshold=1.0, sinks=sinks).recorded == {"records": 5}
        assert os.read(reader, 1 << 20).count(b"\n") == 5
        monkeypatch.setattr("edge_ad.streaming.sinks.records._LONGEST_UNREAD_S", 0.1)
        with pytest.raises(StorageError, match="stopped"):
            run_stream(engine, FakeSource(None), threshold=1.0, sinks=[RecordsSink(path, overwrite=True)])
    finally:
        os.close(reader)


def test_a_database_that_another_program_holds_is_named_as_that(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "line.sqlite"
    run_stream(engine, FakeSource(1), threshold=1.0, sinks=[DatabaseSink(path)])
    sink, other = DatabaseSink(path), sqlite3.connect(path, isolation_level=None)
    sink.begin(FakeSource(1))
    other.execute("BEGIN IMMEDIATE")
    try:
        sink.event(Event("alarm", 0.0))
        with pytest.raises(StorageError, match="could not be written") as caught:
            sink.close()
    finally:
        other.close()
    assert "Another program holds it" in caught.value.hint
