"""``edge-ad records``: lists, filters, exports, draws; one line for what cannot be."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.cli import main
from edge_ad.streaming.frame import Event, RecipeMark
from edge_ad.streaming.golden import GoldenCheck, GoldenPlan
from edge_ad.streaming.golden.state import Judged
from edge_ad.streaming.records import RecordStore, VerdictRow
from edge_ad.streaming.records.schema import _STEPS, open_for_writing

_START = 1_700_000_000.0  # 2023-11-14T22:13:20Z


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="line", ng_images=tmp_path / "ng")
    for frame in range(90):  # a frame a minute
        is_ng, source = frame % 30 == 29, f"camera {1 - frame % 2}"
        score, image = (1.5, f"{frame}.png") if is_ng else (0.5 + frame / 1e3, None)
        row = VerdictRow(source, "b1", frame, _START + 60 * frame, score, 1.0, is_ng, 3.0, 4.5, image)
        store.commit([row])
    store.commit([Event("alarm", _START, text="The disk is full.", data={"alarm": "records"})])
    store.close()
    (tmp_path / "ng").mkdir()
    (tmp_path / "ng" / "29.png").touch()
    return path


def _json(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, object]]:
    assert main(["records", *map(str, arguments), "--json"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return json.loads(output.out)  # type: ignore[no-any-return]


def test_a_list_shows_the_newest_and_says_which_pictures_are_gone(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["records", "list", str(database)]) == 0
    lines = capsys.readouterr().out.splitlines()
    heading = ["id", "time", "source", "frame", "score", "threshold", "verdict", "latency_ms", "age_ms"]
    heading += ["image", "path"]
    assert lines[0].split() == heading
    assert len(lines) == 51
    assert main(["records", "list", str(database), "--verdict", "ng"]) == 0
    pictures = [line.split()[-2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert pictures == [str(database.parent / "ng" / "29.png"), "gone", "gone"]


def test_filters_choose(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def frames(*arguments: object) -> list[object]:
        return [record["frame"] for record in _json(capsys, "list", database, *arguments)]

    assert frames("--limit", 2) == [88, 89]
    assert frames("--since", "2023-11-14T23:41:00Z") == [88, 89]
    assert frames("--until", "2023-11-14T22:15:00+00:00", "--source", "camera 1") == [0]
    assert frames("--min-score", 1.2) == [29, 59, 89]
    assert frames("--since", "1h") == []


def test_events_are_listed_too(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (event,) = _json(capsys, "list", database, "--events")
    assert (event["event"], event["text"], event["data"]) == ("alarm", "The disk is full.", {"alarm": "records"})


def test_an_export_has_every_record(database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["records", "export", str(database), "--out", str(tmp_path / "all.csv")]) == 0
    assert capsys.readouterr().err == f"90 records: {tmp_path / 'all.csv'}\n"
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(90))
    assert (rows[29]["verdict"], rows[29]["image_is_there"], rows[28]["image_is_there"]) == ("NG", "True", "")
    assert main(["records", "export", str(database), "--verdict", "NG", "--out", str(tmp_path / "ng.jsonl")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "ng.jsonl").read_text().splitlines()]
    assert [line["score"] for line in lines] == [1.5, 1.5, 1.5]
    assert main(["records", "export", str(database), "--events", "--out", str(tmp_path / "events.csv")]) == 0
    assert '"{""alarm"": ""records""}"' in (tmp_path / "events.csv").read_text()


def test_parquet_needs_pyarrow_and_says_so(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["records", "export", str(database), "--out", str(tmp_path / "all.parquet")]) == 3
    assert capsys.readouterr().err.splitlines()[0] == "error: Parquet needs pyarrow, which is not installed."
    assert not list(tmp_path.glob("*parquet*")) + list(tmp_path.glob(".*parquet*"))


def test_parquet_keeps_the_types(database: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert main(["records", "export", str(database), "--out", str(tmp_path / "all.parquet")]) == 0
    table = parquet.read_table(tmp_path / "all.parquet")
    assert (table.num_rows, str(table.schema.field("score").type)) == (90, "double")


def test_the_trend_counts_by_hour(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["records", "trend", str(database), "--json"]) == 0
    hours = json.loads(capsys.readouterr().out)["hours"]
    assert [(hour["start"], hour["frames"], hour["ng"]) for hour in hours] == [
        ("2023-11-14T22:00:00.000+00:00", 47, 1),
        ("2023-11-14T23:00:00.000+00:00", 43, 2),
    ]
    assert hours[0]["ng_rate"] == pytest.approx(1 / 47)
    assert main(["records", "trend", str(database)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_trend_is_drawn(database: Path, tmp_path: Path) -> None:
    for name, choice in (("all.png", []), ("ng.png", ["--verdict", "NG"]), ("one.png", ["--limit", "1"])):
        assert main(["records", "trend", str(database), *choice, "--out", str(tmp_path / name)]) == 0
    picture = cv2.imread(str(tmp_path / "all.png"))
    assert picture is not None
    assert picture.shape == (760, 1280, 3)
    red = (picture[50:530, 84:1260] == (61, 69, 214)).all(axis=2)
    assert np.count_nonzero(red.any(axis=0)) > 3 * 3  # three dots
    threshold = (picture[50:530, 84:1248] == (40, 32, 26)).all(axis=2).sum(axis=1)
    assert threshold.max() > 500  # a dashed line across


def test_the_drawn_curve_is_broken_where_nothing_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="cam")
    times = [*range(0, 600, 5), *range(3000, 3600, 5)]
    store.commit([VerdictRow("cam", "b", at, 1.7e9 + at, 0.4 + (at % 7) / 100, 0.5, False, 3.0, 4.0) for at in times])
    store.close()
    assert main(["records", "trend", str(path), "--out", str(tmp_path / "trend.png")]) == 0
    picture = cv2.imread(str(tmp_path / "trend.png"))
    assert picture is not None
    curve = (picture[50:530, 100:1240] == (180, 130, 59)).all(axis=2).any(axis=0)
    assert curve[:150].any()
    assert curve[-150:].any()
    assert not curve[300:800].any()
    axis = np.flatnonzero((picture == 0).all(axis=2).sum(axis=1) > 800)[
        0
    ]  # of the scores, which take most of the height
    assert axis > 450


def test_no_records_are_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "line.sqlite"
    RecordStore(path, source="line").close()
    for arguments in (["list"], ["trend"], ["trend", "--out", str(tmp_path / "t.png")]):
        assert main(["records", arguments[0], str(path), *arguments[1:]]) == 0
    assert not (tmp_path / "t.png").exists()
    capsys.readouterr()
    assert _json(capsys, "list", path) == []


def test_what_cannot_be_is_one_line(database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.sqlite").write_text("notes")
    (tmp_path / "old.csv").write_text("precious")
    newer = tmp_path / "newer.sqlite"
    newer.write_bytes(database.read_bytes())
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    cases: list[tuple[str, list[object]]] = [
        ("nowhere.sqlite", ["list", "nowhere.sqlite"]),
        ("text.sqlite", ["list", tmp_path / "text.sqlite"]),
        ("schema 99", ["trend", newer]),
        ("yesterday", ["list", database, "--since", "yesterday"]),
        ("exists", ["export", database, "--out", tmp_path / "old.csv"]),
        ("unknown ending", ["export", database, "--out", tmp_path / "out.xls"]),
        ("file to export to", ["export", database]),
        ("not a picture", ["trend", database, "--out", tmp_path / "t.svg"]),
        ("no folder", ["trend", database, "--out", tmp_path / "no" / "t.png"]),
        ("terminal", ["list", database, "--out", tmp_path / "t.csv"]),
        ("verdict", ["list", database, "--verdict", "maybe"]),
        ("limit", ["list", database, "--limit", "0"]),
        ("prune", ["prune", database]),
    ]
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for says, arguments in cases:
        assert main(["records", *map(str, arguments)]) == 2, arguments
        output = capsys.readouterr()
        assert output.out == ""
        assert [line.partition(":")[0] for line in output.err.splitlines()] == ["error", "hint"], output.err
        assert says in output.err.splitlines()[0], output.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_verify_says_in_a_line_what_was_changed_and_ends_as_other_verifications(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["records", "verify", str(database), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["intact"], report["entries"], report["verdicts"], report["events"]) == (True, 91, 90, 1)
    assert main(["records", "verify", str(database), "--head", report["head"]]) == 0
    assert "intact" in capsys.readouterr().out
    connection = sqlite3.connect(database)
    connection.execute("UPDATE verdicts SET is_ng = 0 WHERE id = 30")
    connection.commit()
    connection.close()
    assert main(["records", "verify", str(database)]) == 4
    output = capsys.readouterr()
    assert output.out.startswith("Record 30 is not as written: changed (2023-11-14T22:42:20.000+00:00).\n")
    assert "error: " in output.err
    assert "Record 30 is not as written" in output.err


def test_a_beginning_beyond_every_calendar_is_no_crash(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connection = sqlite3.connect(database)
    connection.execute("UPDATE trail SET newest_unix = 9e99 WHERE entry = 0")
    connection.commit()
    connection.close()
    assert main(["records", "verify", str(database)]) == 4
    output = capsys.readouterr()
    assert output.out.startswith("Entry 1 of the trail")
    assert "9e+99 s since 1970" in output.out


def test_what_is_no_head_and_what_has_no_trail_is_one_line(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["records", "verify", str(database), "--head", "0123"]) == 2
    assert "is no head of a trail" in capsys.readouterr().err
    older = tmp_path / "older.sqlite"
    open_for_writing(older, steps=_STEPS[:5]).close()
    assert main(["records", "verify", str(older)]) == 4
    assert "has no trail: an older edge-ad wrote it" in capsys.readouterr().err
    assert main(["records", "verify", str(tmp_path / "none.sqlite")]) == 2


def test_golden_checks_are_printed_with_who_signed_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "line.sqlite"
    golden = GoldenCheck()
    parts = [{"id": "M1", "expect": "OK"}, {"id": "M2", "expect": "NG"}]
    golden.use(GoldenPlan.model_validate({"every": "8h", "parts": parts}), RecipeMark("Plate", "ab12"), 1.0)
    for part, verdict, score in (("M1", "OK", 0.25), ("M2", "NG", 2.5)):
        golden.judged(Judged(part, "", verdict, score, 1.0, "b1", 1_700_000_000.0, recipe_hash="ab12"))
    golden.sign("Otto (operator, 127.0.0.1)")
    store = RecordStore(path, source="line")
    store.commit(golden.look(RecipeMark("Plate", "ab12"), 1.0))
    store.commit(golden.look(RecipeMark("Plate", "ab12"), 2.0))  # another threshold: asked for again, and cut off
    golden.begin("Anna")
    golden.judged(Judged("M2", "", "OK", 0.75, 2.0, "b1", 1_700_000_000.0, recipe_hash="ab12"))
    store.commit(golden.look(RecipeMark("Plate", "ab12"), 2.0))
    store.close()
    assert main(["records", "golden", str(path)]) == 0
    out = capsys.readouterr().out
    assert [word for word in ("PASSED", "NOT DONE") if word in out] == ["PASSED", "NOT DONE"]
    assert "signed by Otto (operator, 127.0.0.1)" in out
    assert [line.split()[:6] for line in out.splitlines() if line.startswith("M")] == [
        ["M1", "OK", "OK", "yes", "0.25", "1"],
        ["M2", "NG", "NG", "yes", "2.5", "1"],
        ["M2", "NG", "OK", "no", "0.75", "2"],
    ]
    for option in (["--source", "line"], ["--limit", "1"], ["--out", str(tmp_path / "checks.txt")]):
        assert main(["records", "golden", str(path), *option]) == 2
        assert f"{option[0]} has no effect on golden checks" in capsys.readouterr().err
    assert main(["records", "golden", str(path), "--json"]) == 0
    check, not_done = json.loads(capsys.readouterr().out)["checks"]
    assert (not_done["outcome"], not_done["asked"], not_done["begun_by"]) == ("not done", "changed threshold", "Anna")
    assert (check["outcome"], check["by"], check["recipe"]) == ("passed", "Otto (operator, 127.0.0.1)", "Plate")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE events SET data = replace(data, 'Otto', 'Anna')")
    connection.commit()
    connection.close()
    assert main(["records", "golden", str(path)]) == 4
    assert "not as written" in capsys.readouterr().err
