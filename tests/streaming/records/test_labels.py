"""What people said of frames, as the database has it: the newest word, its files, and the trail that covers it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.cli.app import main
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records.labels import read_labels
from edge_ad.streaming.records.reader import RecordFilter
from edge_ad.streaming.records.store import RecordStore, VerdictRow
from edge_ad.streaming.records.trail_check import verify_trail
from tests.server.live_page import LivePage, judged


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A database of three NG frames: a false alarm, a scratch with its place, and one whose word was taken back."""
    database, events = tmp_path / "line.sqlite", list[Event]()
    results = [judged(number, 2.0 + number, at=10.0 * number) for number in range(3)]
    with LivePage(corrections=tmp_path / "corrected") as page:
        for number, result in enumerate(results):
            image = np.full((48, 64, 3), 60 + number, np.uint8)
            page.show(replace(result, frame=replace(result.frame, image=image)))
        while len(finds := page.get("/api/finds").json) < 3:
            pass
        place = [{"radius": 100, "points": [500, 500]}]
        for find, word in (
            (finds[2], {"label": "good"}),
            (finds[1], {"label": "defect", "kind": "scratch", "place": place}),
            (finds[0], {"label": "good"}),
            (finds[0], {"label": None}),
        ):
            body = {"by": "Ada", "frame": find["frame"], **word}
            assert page.post(f"/api/finds/{find['number']}/label", body).status == 200
        events += page.control.take_events()
    store = RecordStore(database, source="camera")
    rows = [
        VerdictRow("cam 0", "hash", r.frame.index, r.frame.captured_unix, r.verdict.score, 1.0, True, 1.0, 1.0)
        for r in results
    ]
    store.commit([*rows, *events])
    store.close()
    return database


def test_the_newest_word_on_each_frame_is_listed_with_its_record_and_files(labelled: Path) -> None:
    good, scratch = read_labels(labelled)
    assert (good.label, good.verdict, good.record, good.frame) == ("good", "NG", 1, 0)
    assert (scratch.label, scratch.kind, scratch.record, scratch.by) == ("defect", "scratch", 2, "Ada (127.0.0.1)")
    assert [row.files for row in (good, scratch)] == ["as labelled", "as labelled"]
    assert cv2.imread(scratch.photo).shape == (48, 64, 3)  # type: ignore[union-attr]
    assert cv2.imread(scratch.mask).any()  # type: ignore[union-attr]


def test_what_was_labelled_by_a_time_is_listed_as_it_stands_now(tmp_path: Path) -> None:
    words = [  # frame, when, what
        (0, 10, "good"), (1, 20, "good"), (2, 30, "good"), (3, 40, "good"), (3, 45, None),
        (0, 100, None), (1, 110, "defect"), (3, 120, "good"), (4, 130, "good"),
    ]  # fmt: skip
    store = RecordStore(tmp_path / "line.sqlite", source="cam")
    for frame, at, label in words:
        data = {"frame": frame, "at_unix": float(frame), **({} if label is None else {"label": label})}
        kind = "correction withdrawn" if label is None else "verdict corrected"
        store.commit([Event(kind, float(at), source="cam", text="said", data=data)])
    store.close()

    def listed(**time: float) -> list[tuple[int, str]]:
        return [(row.frame, row.label) for row in read_labels(tmp_path / "line.sqlite", RecordFilter(**time))]

    assert listed(until_unix=50.0) == [(2, "good"), (1, "defect")]
    assert listed(until_unix=50.0, since_unix=25.0) == [(2, "good")]
    assert listed() == [(2, "good"), (1, "defect"), (3, "good"), (4, "good")]


def test_the_trail_covers_what_was_said(labelled: Path) -> None:
    assert verify_trail(labelled).problems == []
    with sqlite3.connect(labelled) as connection:
        connection.execute("UPDATE events SET data = replace(data, 'scratch', 'stain') WHERE id = 2")
    connection.close()
    assert any("Event 2 is not as written" in problem for problem in verify_trail(labelled).problems)


def test_a_file_that_was_changed_or_removed_since_is_told(labelled: Path) -> None:
    good, scratch = read_labels(labelled)
    Path(good.photo).unlink()
    Path(scratch.mask).write_bytes(Path(scratch.photo).read_bytes())
    assert [row.files for row in read_labels(labelled)] == ["gone", "changed"]


def test_a_database_that_was_moved_with_its_folder_finds_the_pictures(labelled: Path, tmp_path: Path) -> None:
    other = tmp_path / "office"
    other.mkdir()
    for name in ("line.sqlite", "corrected"):
        (tmp_path / name).rename(other / name)
    assert [row.files for row in read_labels(other / "line.sqlite")] == ["as labelled", "as labelled"]


def test_the_command_lists_and_exports_them(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["records", "labels", str(labelled), "--json"]) == 0
    assert [row["kind"] for row in json.loads(capsys.readouterr().out)] == ["", "scratch"]
    assert main(["records", "labels", str(labelled), "--out", str(tmp_path / "labels.csv")]) == 0
    header, *lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert header.startswith("time,by,label,kind,verdict,record")
    assert len(lines) == 2
