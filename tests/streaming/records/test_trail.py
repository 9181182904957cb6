"""The trail: what was changed, removed, exchanged or added after it was written is found, and where."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_ad.errors import TrailError
from edge_ad.streaming.frame import Event, RecipeMark
from edge_ad.streaming.records.confirmation import confirm_records
from edge_ad.streaming.records.schema import _STEPS, open_for_writing
from edge_ad.streaming.records.store import RecordStore, UnjudgedRow, VerdictRow
from edge_ad.streaming.records.trail_check import verify_trail
from edge_ad.streaming.records.trail_head import TrailHead, head_file, read_head

_START = 1_700_000_000.0


def _row(frame: int, *, score: float | None = 0.5, time_unix: float = _START, source: str = "line") -> VerdictRow:
    is_ng = score is None or score > 1.0
    texts = {"image": f"{frame}.png", "path": f"/parts/{frame}.png", "regions": '[{"x": 1}]'} if is_ng else {}
    row = VerdictRow(source, "b1", frame, time_unix + frame, score, 1.0, is_ng, 3.25, 4.5, **texts)
    return replace(row, recipe=RecipeMark("Plate", "ab12")) if is_ng else row


def _event(by: str = "Ada") -> Event:
    return Event("threshold changed", _START, "line", f"Threshold changed by {by}.", {"old": 1.0, "new": 0.9, "by": by})


def _recorded(path: Path) -> Path:
    """Twelve verdicts, two events, two confirmations, in six entries."""
    store = RecordStore(path, source="line", ng_images=path.parent / "ng")
    for first in (0, 4, 8):
        store.commit([_row(frame, score=1.5 if frame % 4 == 3 else -0.0) for frame in range(first, first + 4)])
    store.commit([_event(), UnjudgedRow(_START, "line", "black"), _event("Bob")])
    store.close()
    confirm_records(path, [4, 8], by="Ada")
    confirm_records(path, [8], by="Bob", withdraw=True)
    return path


def _sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        assert connection.execute(statement).rowcount != 0
    connection.commit()
    connection.close()


def test_what_was_written_agrees_and_says_what_it_covers(tmp_path: Path) -> None:
    path = _recorded(tmp_path / "line.sqlite")
    report = verify_trail(path)
    assert report.problems == []
    assert (report.entries, report.verdicts, report.events, report.head_file) == (6, 12, 4, "agrees")
    assert verify_trail(path, read_head(path)).problems == []
    assert verify_trail(path, TrailHead.parse(report.head.partition(":")[2])).problems == []


_CELLS = {
    "verdicts": {
        "frame": "frame + 1", "time_unix": "time_unix + 1e-6", "score": "score + 1e-12", "threshold": "NULL",
        "is_ng": "-1", "latency_ms": "latency_ms * 2", "age_ms": "'late'", "reason": "'black'", "image": "NULL",
        "path": "'/parts/x.png'", "regions": "''", "stream": "2", "source": "2", "bundle": "2", "confirmed": "''",
        "recipe": "NULL",
    },
    "events": {
        "time_unix": "time_unix - 1", "kind": "'paused'", "source": "''", "text": "replace(text, 'Ada', 'Eve')",
        "data": "replace(data, 'Ada', 'Eve')", "stream": "7",
    },
}  # fmt: skip


def test_numbers_that_are_not_finite_are_covered(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="line")
    store.commit([replace(_row(0, score=None), threshold=None), replace(_row(1, score=0.0), threshold=None)])
    store.close()
    assert verify_trail(path).problems == []
    for number, change in ((1, "score = 0.0"), (1, "threshold = 0"), (2, "score = ''"), (2, "score = NULL")):
        copy = tmp_path / "copy.sqlite"
        copy.write_bytes(path.read_bytes())
        _sql(copy, f"UPDATE verdicts SET {change} WHERE id = {number}")
        assert verify_trail(copy).problems[0].startswith(f"Record {number} is not as written"), change


_CHANGES = [(table, cell, value) for table, cells in _CELLS.items() for cell, value in cells.items()]


@pytest.mark.parametrize(("table", "cell", "value"), _CHANGES)
def test_a_changed_cell_is_found_and_its_row_is_named(table: str, cell: str, value: str, tmp_path: Path) -> None:
    path = _recorded(tmp_path / "line.sqlite")
    number = 4 if table == "verdicts" else 1
    _sql(path, f"UPDATE {table} SET {cell} = {value} WHERE id = {number}")
    (problem,) = verify_trail(path).problems
    assert problem.startswith(f"{'Record' if table == 'verdicts' else 'Event'} {number} is")


def test_every_column_is_covered_but_those_that_help_to_search(tmp_path: Path) -> None:
    path = _recorded(tmp_path / "line.sqlite")
    connection = sqlite3.connect(path)
    for table, cells in _CELLS.items():
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        assert columns - cells.keys() == {"id", "row_check"}
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sources SET name = 'other'",
        "UPDATE bundles SET hash = 'b2'",
        "UPDATE streams SET source = 'elsewhere'",
        "UPDATE streams SET started_unix = started_unix + 1",
        "DELETE FROM bundles",
    ],
)
def test_a_name_that_rows_share_is_covered(change: str, tmp_path: Path) -> None:
    path = _recorded(tmp_path / "line.sqlite")
    _sql(path, change)
    assert verify_trail(path).problems[0].startswith("Records 1 to 12 are not as written: changed (2023-11-14T22:13:20")


@pytest.mark.parametrize("change", ["UPDATE recipes SET hash = 'cd'", "UPDATE recipes SET name = 'Rod'"])
def test_the_recipe_of_a_row_is_covered(change: str, tmp_path: Path) -> None:
    path = _recorded(tmp_path / "line.sqlite")
    _sql(path, change)
    assert verify_trail(path).problems[0].startswith("Record 4 is not as written")


def _cut(path: Path) -> None:
    """Remove the end as one would who knows of the trail."""
    _sql(
        path,
        "DELETE FROM events WHERE id > 2",
        "DELETE FROM trail WHERE entry > 4",
        "UPDATE verdicts SET confirmed = '' WHERE id = 4",
    )


_TAMPERINGS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a deleted row": (lambda path: _sql(path, "DELETE FROM verdicts WHERE id = 6"), "Record 6 is missing"),
    "a deleted event": (lambda path: _sql(path, "DELETE FROM events WHERE id = 2"), "Event 2 is missing"),
    "deleted rows": (
        lambda path: _sql(path, "DELETE FROM verdicts WHERE id BETWEEN 5 AND 8"),
        "Records 5 to 8 are missing",
    ),
    "a deleted end": (lambda path: _sql(path, "DELETE FROM verdicts WHERE id > 10"), "Records 11 to 12 are missing"),
    "exchanged contents": (
        lambda path: _sql(
            path,
            "CREATE TEMP TABLE a AS SELECT * FROM verdicts WHERE id IN (2, 9)",
            "UPDATE verdicts SET (frame, time_unix) = (SELECT frame, time_unix FROM a WHERE a.id = 11 - verdicts.id)"
            " WHERE id IN (2, 9)",
        ),
        "Records 2 (2023-11-14T22:13:28.000+00:00) and 9 (2023-11-14T22:13:21.000+00:00) were exchanged",
    ),
    "exchanged ids": (
        lambda path: _sql(
            path,
            "UPDATE verdicts SET id = -1 WHERE id = 2",
            "UPDATE verdicts SET id = 2 WHERE id = 9",
            "UPDATE verdicts SET id = 9 WHERE id = -1",
        ),
        "Records 2 (2023-11-14T22:13:28.000+00:00) and 9 (2023-11-14T22:13:21.000+00:00) were exchanged",
    ),
    "a changed row with its checksum": (
        lambda path: _sql(path, "UPDATE verdicts SET score = 0.1, row_check = row_check + 1 WHERE id = 6"),
        "Record 6 is not as written",
    ),
    "an added row": (
        lambda path: _sql(path, "INSERT INTO verdicts SELECT 13, " + ", ".join(_COLUMNS) + " FROM verdicts LIMIT 1"),
        "Record 13 is in no entry",
    ),
    "a deleted entry": (lambda path: _sql(path, "DELETE FROM trail WHERE entry = 2"), "Entry 2 is missing"),
    "a changed hash": (
        lambda path: _sql(path, "UPDATE trail SET hash = zeroblob(32) WHERE entry = 2"),
        "Entry 2 of the trail (record 5 to record 8",
    ),
    "a damaged entry": (
        lambda path: _sql(path, "UPDATE trail SET hash = 'x' WHERE entry = 2"),
        "Entry 2 is missing from the trail, or damaged",
    ),
    "a beginning that says more was not covered": (
        lambda path: _sql(
            path,
            "DELETE FROM verdicts WHERE id <= 4",
            "UPDATE trail SET verdicts = 4, last_verdict = 4 WHERE entry = 0",
        ),
        "Records 1 to 4 are missing",
    ),
    "a removed beginning": (
        lambda path: _sql(path, "DELETE FROM verdicts WHERE id <= 4", "DELETE FROM trail WHERE entry < 1"),
        "What was recorded up to entry 1 is missing, and no event",
    ),
    "a removed trail": (lambda path: _sql(path, "DELETE FROM trail"), "The whole trail is missing"),
    "a confirmation that nobody gave": (
        lambda path: _sql(path, "UPDATE verdicts SET confirmed = 'good' WHERE id = 12"),
        "Record 12 is marked 'good' as confirmed, but no event says so",
    ),
    "an end cut off with its entries": (_cut, "The trail ends at entry 4, but its head was entry 6"),
}
_COLUMNS = [
    "stream", "source", "bundle", "frame", "time_unix", "score", "threshold", "is_ng", "latency_ms", "age_ms", "image",
    "reason", "path", "confirmed", "regions", "row_check", "recipe",
]  # fmt: skip


@pytest.mark.parametrize("tampering", _TAMPERINGS)
def test_a_tampering_is_found_and_named(tampering: str, tmp_path: Path) -> None:
    path = _recorded(tmp_path / "line.sqlite")
    change, said = _TAMPERINGS[tampering]
    change(path)
    problems = verify_trail(path).problems
    assert problems[0].startswith(said)
    assert len(problems) <= 2


def test_a_cut_end_without_its_file_is_found_by_a_head_that_was_noted_elsewhere(tmp_path: Path) -> None:
    path = _recorded(tmp_path / "line.sqlite")
    head = TrailHead.parse(verify_trail(path).head)
    _cut(path)
    head_file(path).unlink()
    assert verify_trail(path).problems == []  # nothing inside the database can show it
    (numbered,) = verify_trail(path, head).problems
    assert numbered == "The trail ends at entry 4, but its head was entry 6: its end is missing."
    (bare,) = verify_trail(path, TrailHead(None, head.hash)).problems
    assert "the end of the trail is missing, or it was rewritten" in bare


def test_a_stream_tells_that_the_end_is_missing_before_it_goes_on(tmp_path: Path) -> None:
    path = _recorded(tmp_path / "line.sqlite")
    _cut(path)
    store = RecordStore(path, source="line")
    assert store.trail_fault == "The trail ends at entry 4, but its head was entry 6: its end is missing."
    store.close()


def test_streams_that_write_side_by_side_and_confirmations_extend_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    stores = [RecordStore(path, source=name) for name in ("left", "right")]
    for frame in range(4):
        for store in stores:
            store.commit([_row(frame, source="left"), _event()])
        confirm_records(path, [frame + 1], by="Ada")
    for store in stores:
        store.close()
    report = verify_trail(path)
    assert (report.problems, report.entries, report.verdicts, report.head_file) == ([], 12, 8, "agrees")


def test_a_batch_that_fails_leaves_the_trail_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="line")
    store.commit([_row(0)])
    with pytest.raises(OverflowError):
        store.commit([_row(1), VerdictRow("new", "b2", 2, 0.0, 1 << 70, 1.0, True, 1.0, 1.0)])
    store.commit([_row(1)])
    store.close()
    assert (verify_trail(path).problems, verify_trail(path).entries) == ([], 2)


def test_removal_for_age_leaves_an_anchor_that_the_trail_signs_off(tmp_path: Path) -> None:
    path, now = tmp_path / "line.sqlite", time.time()
    for days in (9.0, 3.0, 2.0, 0.5):
        store = RecordStore(path, source="line")
        store.commit([_row(0, time_unix=now - days * 86400), replace(_event(), at_unix=now - days * 86400)])
        store.close()
    heads = []
    for keep_days in (5.0, 1.0):
        store = RecordStore(path, source="line", keep_days=keep_days)
        store.commit([_row(0, time_unix=now)])
        store.close()
        report = verify_trail(path)
        assert report.problems == []
        heads.append((report.removed_until, report.verdicts))
    assert heads == [(1, 4), (3, 3)]
    assert verify_trail(path, TrailHead.parse(f"2:{'0' * 64}")).problems == [
        "Entry 2 was removed for its age: give a newer head."
    ]
    _sql(
        path,
        "DELETE FROM trail WHERE entry = 3",
        "DELETE FROM verdicts WHERE id = 4",
        "DELETE FROM events WHERE id = 4",
    )
    assert verify_trail(path).problems[0].startswith("What was recorded up to entry 4 is missing, and no event")


def test_a_time_in_the_far_future_does_not_keep_what_follows_for_ever(tmp_path: Path) -> None:
    path, now = tmp_path / "line.sqlite", time.time()
    for days in (9.0, -400.0, -1e95, 8.0, 0.5):
        store = RecordStore(path, source="line")
        store.commit([_row(0, time_unix=now - days * 86400)])
        store.close()
    store = RecordStore(path, source="line", keep_days=5.0)
    store.commit([_row(0, time_unix=now)])
    store.close()
    report = verify_trail(path)
    assert (report.problems, report.removed_until, report.verdicts) == ([], 4, 2)


@pytest.mark.parametrize("version", range(1, 6))
def test_what_an_older_edge_ad_recorded_is_not_covered_and_that_is_said(version: int, tmp_path: Path) -> None:
    path = tmp_path / "line.sqlite"
    connection = open_for_writing(path, steps=_STEPS[:version])
    connection.execute("INSERT INTO streams VALUES (1, 1.0, 'line', '')")
    connection.execute("INSERT INTO events VALUES (1, 1, 1.0, 'part', '', '', '{}')")
    connection.close()
    with pytest.raises(TrailError, match="has no trail: an older edge-ad wrote it"):
        verify_trail(path)
    store = RecordStore(path, source="line")
    store.commit([_row(0)])
    store.close()
    report = verify_trail(path)
    assert (report.problems, report.uncovered, report.verdicts, report.events) == ([], (0, 1), 1, 0)
    assert report.began_unix == pytest.approx(time.time(), abs=60.0)


def test_a_trail_that_was_removed_begins_again(tmp_path: Path) -> None:
    path = _recorded(tmp_path / "line.sqlite")
    _sql(path, "DELETE FROM trail")
    head_file(path).unlink()
    store = RecordStore(path, source="line")
    store.commit([_row(12)])
    store.close()
    report = verify_trail(path)
    assert (report.problems, report.uncovered, report.verdicts) == ([], (12, 4), 1)
