"""A database whose columns hold something else than edge-ad writes: one line, whatever reads it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_ad.cli import main
from edge_ad.errors import DataError
from edge_ad.server.api import stored_records
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records import RecordStore, VerdictRow

_START = 1_700_000_000.0
_VERDICTS = {
    "text for a score": "UPDATE verdicts SET score = 'high' WHERE id = 2",
    "bytes for a threshold": "UPDATE verdicts SET threshold = x'00ff' WHERE id = 2",
    "bytes for a time": "UPDATE verdicts SET time_unix = x'00' WHERE id = 2",
    "text for a time": "UPDATE verdicts SET time_unix = 'yesterday' WHERE id = 2",
    "a time beyond every calendar": "UPDATE verdicts SET time_unix = 1e300 WHERE id = 2",
    "a time before every clock": "UPDATE verdicts SET time_unix = -1e18 WHERE id = 2",
    "text for a verdict": "UPDATE verdicts SET is_ng = 'NG' WHERE id = 2",
    "another number for a verdict": "UPDATE verdicts SET is_ng = 7 WHERE id = 2",
    "a source that is not there": "UPDATE verdicts SET source = 99 WHERE id = 2",
    "bytes for a source": "UPDATE sources SET name = x'ff'",
}
_ROWS = {
    "a huge frame": "UPDATE verdicts SET frame = 1e300 WHERE id = 2",
    "text for a latency": "UPDATE verdicts SET latency_ms = 'slow' WHERE id = 2",
    "bytes for a bundle": "UPDATE bundles SET hash = x'ff'",
    "a bundle that is not there": "DELETE FROM bundles",
}
_IMAGES = {
    "a number for a picture": "UPDATE verdicts SET image = x'31' WHERE id = 2",
    "a stream that is not there": "DELETE FROM streams",
}
_EVENTS = {
    "data that is no JSON": "UPDATE events SET data = '{'",
    "data that is a list": "UPDATE events SET data = '[1]'",
    "data that is deeper than any": f"UPDATE events SET data = '{'[' * 100_000}'",
    "bytes for a text": "UPDATE events SET text = x'ff'",
    "text for a time of an event": "UPDATE events SET time_unix = 'noon'",
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="line", ng_images=tmp_path / "ng")
    rows = [VerdictRow("line", "b1", n, _START + n, 0.5, 1.0, False, 3.0, 4.5, f"{n}.png") for n in range(3)]
    store.commit([*rows, Event("alarm", _START, text="full", data={"alarm": "records"})])
    store.close()
    return path


def _change(database: Path, statement: str) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    with connection:
        connection.execute(statement)
    connection.close()


def _is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> bool:
    code = main(["records", *arguments])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return code == DataError.exit_code and len(errors) == 1 and "cannot be read" in errors[0]


@pytest.mark.parametrize("statement", (_VERDICTS | _ROWS | _IMAGES).values(), ids=(_VERDICTS | _ROWS | _IMAGES).keys())
@pytest.mark.parametrize("form", ["list", "csv", "jsonl", "parquet"])
def test_verdicts_are_neither_listed_nor_exported(
    form: str, statement: str, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    _change(database, statement)
    out = tmp_path / f"all.{form}"
    action = ["list", str(database)] if form == "list" else ["export", str(database), "--out", str(out)]
    assert _is_one_line(action, capsys)
    assert not out.exists()


@pytest.mark.parametrize("statement", _VERDICTS.values(), ids=_VERDICTS.keys())
@pytest.mark.parametrize("form", ["terminal", "json", "picture"])
def test_a_trend_does_not_count_what_is_no_number(
    form: str, statement: str, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _change(database, statement)
    options = {"terminal": [], "json": ["--json"], "picture": ["--out", str(tmp_path / "trend.png")]}[form]
    assert _is_one_line(["trend", str(database), *options], capsys)


@pytest.mark.parametrize("statement", _VERDICTS.values(), ids=_VERDICTS.keys())
def test_a_report_does_not_count_what_is_no_number(
    statement: str, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _change(database, statement)
    assert _is_one_line(["report", str(database), "--since", "2023-11-01"], capsys)


@pytest.mark.parametrize("statement", (_VERDICTS | _ROWS).values(), ids=(_VERDICTS | _ROWS).keys())
def test_the_page_gives_none_of_it_away_as_a_record(statement: str, database: Path) -> None:
    _change(database, statement)
    with pytest.raises(DataError, match="cannot be read"):
        list(stored_records(database, 10))


@pytest.mark.parametrize("statement", _EVENTS.values(), ids=_EVENTS.keys())
def test_events_are_not_listed(statement: str, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _change(database, statement)
    assert _is_one_line(["list", str(database), "--events"], capsys)


@pytest.mark.parametrize("score", ["1e308", "-1e308", "9e999", "5e-324", "1e16"])
def test_a_number_that_is_one_is_drawn_however_large(
    score: str, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _change(database, f"UPDATE verdicts SET score = {score}, threshold = {score} WHERE id > 1")
    picture = tmp_path / "trend.png"
    assert main(["records", "trend", str(database), "--out", str(picture)]) == 0
    assert main(["records", "trend", str(database)]) == 0
    assert main(["records", "list", str(database)]) == 0
    assert main(["records", "report", str(database), "--out", str(tmp_path / "report.html")]) == 0
    assert picture.stat().st_size > 0


@pytest.mark.parametrize("since", ["noon", 1 << 80, 10**400, None, -1.0])
def test_frames_of_a_master_part_without_a_time_are_counted(
    since: object, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    span = {"source": "line", "since_unix": since, "until_unix": _START + 9}
    store = RecordStore(database, source="line")
    store.commit([Event("master part", _START + 9, data={"at_unix": since, "frames": [span, 7]})])
    store.commit([Event("golden check judged", _START + 9, data={"results": [{"at_unix": since}, since]})])
    store.close()
    assert main(["records", "trend", str(database), "--json"]) == 0
    assert '"frames": 3' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "code"),
    [({"pixels": ["a"], "frame": 1}, 0), ({"pixels": "a"}, 2), ({"frame": 10**400}, 2)],
    ids=["a list for a hash", "no frame", "a huge frame"],
)
def test_a_label_of_another_program_is_one_line_at_most(
    data: dict[str, object], code: int, database: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = RecordStore(database, source="line")
    store.commit([Event("verdict agreed", _START + 9, "line", data={"label": "good", "at_unix": _START, **data})])
    store.close()
    assert main(["records", "labels", str(database)]) == code
    assert main(["records", "report", str(database), "--out", str(tmp_path / "report.html")]) in (0, 2)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert not any("bug" in line for line in errors)
    assert any("cannot be read" in line for line in errors) == bool(code)
